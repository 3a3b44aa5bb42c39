"""The demo's place on the wire: it counts what is sent, and can send what nobody should."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mallku_broker.trust import TrustFile
from mallku_client.answers import read_body
from mallku_client.clock import Clock
from mallku_client.settings import ClientSettings
from mallku_client.transport import NotDelivered, Transport
from mallku_client.verifier import Verifier
from mallku_contracts.envelope import CommandHeader, Envelope, command_hash
from mallku_contracts.errors import MallkuError, PermissionDenied


@dataclass(slots=True)
class CountingTransport:
    """Carries requests as they are, and remembers the id of each command.

    Attributes:
        sent: Those that may have reached a worker.
        turned_away: Those that certainly reached nobody: the broker's own lock refused them.
    """

    inner: Transport
    sent: list[str] = field(default_factory=list[str])
    turned_away: list[str] = field(default_factory=list[str])

    async def request(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None, timeout_s: float
    ) -> bytes:
        """Send one request and return the first reply's body."""
        header = CommandHeader.read(Envelope.split(payload).protected)
        self.sent.append(header.id)
        try:
            return await self.inner.request(subject, payload, headers, timeout_s)
        except (PermissionDenied, NotDelivered):  # a worker's refusal is a reply like any other
            self.sent.remove(header.id)
            self.turned_away.append(header.id)
            raise

    async def close(self) -> None:
        """Let go of the connection."""
        await self.inner.close()


class Attacker:
    """Sends bytes as they are, and still believes only what a trusted worker signed."""

    def __init__(self, transport: Transport, settings: ClientSettings) -> None:
        self._transport = transport
        trust_file = settings.require("trust_file", "the demo checks replies with it")
        trust = TrustFile(trust_file, logging.getLogger(__name__).warning)
        self._verifier = Verifier(trust, Clock(), require_signed_reads=True)

    async def send(
        self, subject: str, payload: bytes, timeout_s: float = 5.0
    ) -> MallkuError | None:
        """The worker's refusal, or None when it did what the bytes say."""
        data = await self._transport.request(subject, payload, None, timeout_s)
        envelope = Envelope.split(payload)
        expected = command_hash(subject, envelope.protected, envelope.body)
        reply = self._verifier.open(data, expected_command=expected, mutates=True)
        content = read_body(reply.body)
        return content if isinstance(content, MallkuError) else None


def flip_last_byte_of_body(payload: bytes) -> bytes:
    """The same envelope with one bit of its content changed after it was signed."""
    envelope = Envelope.split(payload)
    body = envelope.body[:-1] + bytes([envelope.body[-1] ^ 1])
    return replace(envelope, body=body).join()
