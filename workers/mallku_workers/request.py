"""What step 5 makes of a command: a request that may be carried out as it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mallku_contracts.arguments import Arguments
from mallku_contracts.dpop import Proof
from mallku_contracts.operations import Operation
from mallku_contracts.policy import CompiledPolicy, DocumentRules, Grant
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.tokens import Identity
from mallku_contracts.trail.digests import Digests
from mallku_workers.stores.base import RunnableQuery, Step


@dataclass(frozen=True, slots=True)
class Carrier:
    """A door that signed a command, and the proof that its caller asked for it."""

    identity: Identity
    proof: Proof
    text: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """A command that may be carried out.

    Attributes:
        now_ms: When it came, Unix milliseconds.
        rules: What holds for every document that it touches; None restricts nothing.
        steps: Of a transaction, each with its own rules.
        query: Of `aql`, with all of its bind values.
        digests: Makes the hashes that records of it hold in the place of values; None lets records
            hold all of it.
        carrier: The door that brought it, beyond which nothing is shown; None where its caller
            signed.
    """

    subject: CommandSubject
    operation: Operation
    arguments: Arguments
    policy: CompiledPolicy
    identity: Identity
    grant: Grant
    now_ms: int
    rules: DocumentRules | None = None
    steps: Sequence[Step] = ()
    query: RunnableQuery | None = None
    digests: Digests | None = field(default=None, repr=False)
    carrier: Carrier | None = None

    @property
    def mutates(self) -> bool:
        """Whether it can have an effect."""
        return self.operation.mutates or (self.query is not None and self.query.modifies)
