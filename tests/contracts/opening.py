"""The steps from a message to a believed command, as `docs/wire.md` lists them."""

from __future__ import annotations

from typing import Any

from mallku_contracts import codec
from mallku_contracts.envelope import (
    CommandHeader,
    Envelope,
    Reply,
    command_signing_input,
    token_hash,
)
from mallku_contracts.errors import (
    InvalidSignature,
    InvalidToken,
    MalformedBody,
    MallkuError,
    PrincipalMismatch,
    UnverifiedReply,
)
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.tokens import COMMAND_AUDIENCE, REPLY_AUDIENCE, Identity, verify_token
from tests.vectors.world import LEEWAY_S, NOW_MS, TRUST


class Opening:
    """Opens one message; `step` names the step under way, and after a refusal the one that refused.

    Nothing but a coded error may come out of it, whatever goes in.
    """

    def __init__(self, subject: str, message: bytes, now_ms: int = NOW_MS) -> None:
        self._subject = CommandSubject.parse(subject)
        self._message = message
        self._now_ms = now_ms
        self.step = "split"

    def open(self) -> dict[str, Any]:
        """The arguments of an accepted command."""
        envelope = Envelope.split(self._message)
        self.step = "header"
        header = CommandHeader.read(envelope.protected)
        self.step = "times"
        header.check_times(self._now_ms)
        self.step = "subject"
        header.check_subject(self._subject)
        self._prove(envelope, header, self._identify(envelope, header))
        self.step = "body"
        return self._read(envelope.body)

    def refusal(self) -> MallkuError | None:
        """What refuses the message; None when it is accepted."""
        try:
            self.open()
        except MallkuError as error:
            return error
        return None

    def _identify(self, envelope: Envelope, header: CommandHeader) -> Identity:
        self.step = "token"
        if header.ath != token_hash(envelope.token):
            raise InvalidToken("protected.ath is not the hash of the token")
        return believe(envelope.token, COMMAND_AUDIENCE, self._now_ms)

    def _prove(self, envelope: Envelope, header: CommandHeader, identity: Identity) -> None:
        self.step = "principal"
        if identity.principal != self._subject.principal:
            raise PrincipalMismatch("the token speaks for another principal")
        self.step = "key"
        if identity.key.kid != header.kid:
            raise InvalidSignature("protected.kid is not the key that the token names")
        self.step = "signature"
        signed = command_signing_input(str(self._subject), envelope.protected, envelope.body)
        if not identity.key.verify(signed, envelope.signature):
            raise InvalidSignature("the signature does not hold")

    def _read(self, body: bytes) -> dict[str, Any]:
        try:
            arguments = codec.unpack(body)
        except codec.CodecError as error:
            raise MalformedBody(str(error)) from None
        if not isinstance(arguments, dict):
            raise MalformedBody("not a map")
        return arguments


def believe(token: bytes, audience: str, now_ms: int = NOW_MS) -> Identity:
    """The identity in a token that the vectors' issuer signed."""
    return verify_token(token, TRUST, audience=audience, now_s=now_ms / 1_000, leeway_s=LEEWAY_S)


def open_reply(message: bytes, expected: bytes, now_ms: int = NOW_MS) -> tuple[Reply, Any]:
    """A signed reply to the command with the hash `expected`, and what it says."""
    reply = Reply.open(message, expected_command=expected)
    if not reply.signed:
        raise UnverifiedReply("not signed")
    reply.verify(believe(reply.envelope.token, REPLY_AUDIENCE, now_ms).key)
    return reply, codec.unpack(reply.envelope.body, allow_bytes=True)
