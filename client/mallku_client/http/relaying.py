"""Commands that their callers signed themselves, passed on as they are, and their replies.

The door neither reads nor changes them: workers check the caller's signature, and the caller checks
the worker's. It looks at token and signature first, so that nobody spends a caller's share of the
gateway from outside.
"""

from __future__ import annotations

from mallku_client.clock import Clock
from mallku_client.http.carrying import DoorTransport
from mallku_client.http.who import Doorkeeper
from mallku_contracts.envelope import CommandHeader, Envelope, command_signing_input, token_hash
from mallku_contracts.errors import InvalidSignature, InvalidToken, NotSupported, PrincipalMismatch
from mallku_contracts.limits import MAX_COMMAND_LIFE_MS
from mallku_contracts.subjects import JOB, CommandSubject
from mallku_contracts.tracing import HEADER


class Relay:
    """Passes signed commands on to the broker."""

    def __init__(self, transport: DoorTransport, keeper: Doorkeeper, clock: Clock) -> None:
        self._transport = transport
        self._keeper = keeper
        self._clock = clock

    async def pass_on(self, subject: str, data: bytes, traceparent: str = "") -> bytes:
        """The reply's bytes to a command's bytes, which belong to the trace `traceparent`.

        Raises:
            EnvelopeError, InvalidSubject: it is not what its caller signed for this subject.
            PermissionDenied: the door does not act for the caller.
            NotDelivered, NoAnswer: as `Transport.request`.
        """
        named = CommandSubject.parse(subject)
        if named.channel == JOB:
            raise NotSupported("durable jobs are submitted over NATS")
        header = self._check(named, data)
        wait_s = min(header.budget, MAX_COMMAND_LIFE_MS) / 1_000
        headers = {HEADER: traceparent} if traceparent else None
        return await self._transport.request(str(named), data, headers, wait_s)

    def _check(self, subject: CommandSubject, data: bytes) -> CommandHeader:
        envelope = Envelope.split(data)
        header = CommandHeader.read(envelope.protected)
        header.check_times(self._clock.now_ms())
        header.check_subject(subject)
        if header.ath != token_hash(envelope.token):
            raise InvalidToken("protected.ath is not the hash of the token")
        identity = self._keeper.identify(envelope.token.decode("ascii", "replace"))
        if identity.principal != subject.principal:
            raise PrincipalMismatch("the token speaks for another principal than the subject")
        signed = command_signing_input(str(subject), envelope.protected, envelope.body)
        if not identity.key.verify(signed, envelope.signature):
            raise InvalidSignature("the signature does not hold for these bytes and this subject")
        return header
