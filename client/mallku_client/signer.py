"""Commands become signed bytes here, once for every attempt."""

from __future__ import annotations

from dataclasses import dataclass

from mallku_client.clock import Clock
from mallku_client.identity import ClientIdentity
from mallku_contracts.envelope import VERSION, CommandHeader, command_hash, seal_command
from mallku_contracts.identifiers import uuid7
from mallku_contracts.subjects import CommandSubject, inbox_prefix


@dataclass(frozen=True, slots=True)
class Command:
    """What one call asks for; every attempt repeats exactly this.

    Attributes:
        body: The packed arguments.
        first_id: The id of the first attempt, a UUIDv7.
        idempotency_key: What all attempts share; `first_id` unless the caller named one.
        mutates: Whether it can have an effect, a query's unread text included.
    """

    subject: CommandSubject
    body: bytes
    first_id: str
    idempotency_key: str
    mutates: bool


@dataclass(frozen=True, slots=True)
class SealedCommand:
    """One attempt, ready to be sent; `hash` is what its reply must carry, 32 bytes."""

    id: str
    subject: str
    payload: bytes
    hash: bytes


class Signer:
    """Seals commands in the name of one principal."""

    def __init__(self, identity: ClientIdentity, clock: Clock) -> None:
        self._identity = identity
        self._clock = clock
        self._reply = inbox_prefix(identity.principal)

    def new_id(self) -> str:
        """A fresh id for a command."""
        return uuid7(self._clock.now_ms())

    def seal(self, command: Command, *, attempt: int, timeout_s: float) -> SealedCommand:
        """Sign attempt number `attempt`, of use for `timeout_s` seconds from now.

        Raises:
            TokenExpired: and there is no newer token.
            MessageTooLarge: no worker would admit it.
        """
        identity, subject = self._identity, command.subject
        token = identity.token.current()
        now_ms = self._clock.now_ms()
        budget_ms = max(int(timeout_s * 1000), 1)
        header = CommandHeader(
            v=VERSION,
            kid=identity.key.kid,
            id=command.first_id if attempt == 1 else uuid7(now_ms),
            iat=now_ms,
            exp=now_ms + budget_ms,
            budget=budget_ms,
            attempt=attempt,
            op=subject.operation,
            db=subject.database,
            col=subject.collection,
            idem=command.idempotency_key,
            reply=self._reply,
            ath=token.hash,
        )
        payload = seal_command(subject, header, command.body, identity.key, token.raw)
        text = str(subject)
        return SealedCommand(
            header.id, text, payload, command_hash(text, header.pack(), command.body)
        )
