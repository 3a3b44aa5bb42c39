"""Commands become signed bytes here, once for every attempt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mallku_client.clock import Clock
from mallku_client.identity import ClientIdentity
from mallku_contracts.cancelling import seal_cancel
from mallku_contracts.envelope import (
    CommandHeader,
    command_hash,
    seal_command,
    token_hash,
)
from mallku_contracts.identifiers import uuid7
from mallku_contracts.protected import VERSION
from mallku_contracts.subjects import JOB, CommandSubject, inbox_prefix
from mallku_contracts.tracing import HEADER

if TYPE_CHECKING:  # brings PyJWT, which only doors need here
    from mallku_contracts.dpop import Proof


@dataclass(frozen=True, slots=True)
class Carried:
    """What a door shows of the caller whose command it signs (RFC 9449)."""

    token: bytes = field(repr=False)
    text: bytes = field(repr=False)
    proof: Proof


@dataclass(frozen=True, slots=True)
class Command:
    """What one call asks for; every attempt repeats exactly this.

    Attributes:
        body: The packed arguments.
        first_id: The id of the first attempt, a UUIDv7.
        idempotency_key: What all attempts share; `first_id` unless the caller named one.
        mutates: Whether it can have an effect, a query's unread text included.
        carried: For a door, the proof that the caller asked for it, and the caller's token; None
            for a command of our own.
        traceparent: The trace that it belongs to, where somebody else began it; empty else.
    """

    subject: CommandSubject
    body: bytes
    first_id: str
    idempotency_key: str
    mutates: bool
    carried: Carried | None = None
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class JobTerms:
    """What a durable job says besides its command; all transmissions of it say the same.

    Attributes:
        expires_ms: Nothing of it begins after this, Unix milliseconds.
        budget_ms: How long each try of it may take, milliseconds.
        run_at_ms: Not before this time, Unix milliseconds; 0 for at once.
        ordering_key: Empty without an order.
    """

    expires_ms: int
    budget_ms: int
    run_at_ms: int = 0
    ordering_key: str = ""


@dataclass(frozen=True, slots=True)
class SealedCommand:
    """One attempt, ready to be sent; `hash` is what its reply must carry, 32 bytes."""

    id: str
    subject: str
    payload: bytes
    hash: bytes


def trace_headers(command: Command) -> dict[str, str]:
    """What the message of a command says of the trace that it belongs to; nothing without one."""
    return {HEADER: command.traceparent} if command.traceparent else {}


class Signer:
    """Seals commands in the name of one principal."""

    def __init__(self, identity: ClientIdentity, clock: Clock) -> None:
        self._identity = identity
        self._clock = clock

    def now_ms(self) -> int:
        """The time that commands are signed with, Unix milliseconds."""
        return self._clock.now_ms()

    def new_id(self) -> str:
        """A fresh id for a command."""
        return uuid7(self._clock.now_ms())

    def seal(self, command: Command, *, attempt: int, timeout_s: float) -> SealedCommand:
        """Sign attempt number `attempt`, of use for `timeout_s` seconds from now.

        Raises:
            TokenExpired: and there is no newer token.
            MessageTooLarge: no worker would admit it.
        """
        now_ms = self._clock.now_ms()
        budget_ms = max(int(timeout_s * 1000), 1)
        return self._seal(command, attempt, now_ms, JobTerms(now_ms + budget_ms, budget_ms))

    def cancel(self, command: Command, command_id: str) -> tuple[str, bytes]:
        """Subject and body that say that a transmission need not be begun any more."""
        return seal_cancel(command.subject.principal, command_id, self._identity.key)

    def seal_job(self, command: Command, terms: JobTerms, *, attempt: int) -> SealedCommand:
        """Sign transmission number `attempt` of a durable job; errors as of `seal`."""
        return self._seal(command, attempt, self._clock.now_ms(), terms)

    def _seal(self, command: Command, attempt: int, now_ms: int, terms: JobTerms) -> SealedCommand:
        identity, subject = self._identity, command.subject
        raw, digest = self._token(command)
        is_job = subject.channel == JOB
        header = CommandHeader(
            v=VERSION,
            kid=identity.key.kid,
            id=_attempt_id(command, attempt, now_ms),
            iat=now_ms,
            exp=terms.expires_ms,
            budget=terms.budget_ms,
            attempt=attempt,
            op=subject.operation,
            db=subject.database,
            col=subject.collection,
            idem=command.idempotency_key,
            reply=inbox_prefix(subject.principal),
            ath=digest,
            run_at=terms.run_at_ms if is_job else None,
            order=terms.ordering_key if is_job else None,
        )
        payload = seal_command(subject, header, command.body, identity.key, raw)
        text = str(subject)
        return SealedCommand(
            header.id, text, payload, command_hash(text, header.pack(), command.body)
        )

    def _token(self, command: Command) -> tuple[bytes, bytes]:
        """The token part of a command, and its hash."""
        token = self._identity.token.current()
        if command.carried is None:
            return token.raw, token.hash
        from mallku_contracts.dpop import Evidence

        raw = Evidence(token.raw, command.carried.token, command.carried.text).join()
        return raw, token_hash(raw)


def _attempt_id(command: Command, attempt: int, now_ms: int) -> str:
    if attempt == 1:
        return command.first_id
    if command.carried is not None:
        return command.carried.proof.command_id(attempt)
    return uuid7(now_ms)
