"""Asks all workers at once what they say of themselves, as an inspector."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

from mallku_broker.connection import GatewayConnection, connect
from mallku_broker.events import ConnectionEvent, ConnectionLost, EventKind
from mallku_broker.headers import decode_headers, nobody_listens
from mallku_broker.permissions import SERVICE
from mallku_broker.trust import load_trust
from mallku_client.composition import broker_settings
from mallku_client.settings import ClientSettings
from mallku_contracts.discovery import NONCE_BYTES, Question
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from mallku_contracts.subjects import inbox_prefix
from mallku_contracts.trust import Trust
from mallku_deploy.watching.sighting import NoSighting, Sighting, read_sighting

SUBJECT: Final = f"$SRV.STATS.{SERVICE}"
"""Where every worker is asked at once."""

QUIET_S: Final = 0.3
"""After so much silence nobody else is expected to answer, seconds."""

WAIT_S: Final = 2.0
"""What the first answer may take, seconds."""

MAX_ANSWERS: Final = 1_024
"""Answers to one question that are looked at."""

_INBOX_BYTES: Final = 8


class Finder:
    """Asks again and again over one connection; made by `open_finder`."""

    def __init__(
        self, connection: GatewayConnection, inbox: str, trust: Callable[[], Trust]
    ) -> None:
        self._connection, self._inbox, self._trust = connection, inbox, trust
        self._question, self._asked = Question(SUBJECT, b""), 0
        self._came: asyncio.Queue[Sighting | None] = asyncio.Queue(MAX_ANSWERS)
        self.refusal = ""

    async def look(self, *, expected: int = 0, wait_s: float = WAIT_S) -> list[Sighting]:
        """What every worker that answers says now, in the order of their names.

        Args:
            expected: When so many have answered nobody else is waited for; 0 waits until it has
                been quiet for a while.

        Raises:
            GatewayUnreachable: the connection is down.
            ConfigurationError: the broker does not let us ask.
        """
        self._ask()
        found: dict[str, Sighting] = {}
        while not expected or len(found) < expected:
            try:
                async with asyncio.timeout(QUIET_S if found and not expected else wait_s):
                    sighting = await self._came.get()
            except TimeoutError:
                break
            if sighting is None:
                break
            found[sighting.instance] = sighting
        if self.refusal and not found:
            raise ConfigurationError(f"{self.refusal}; only principals of kind inspector may ask")
        return sorted(found.values(), key=lambda one: (one.principal, one.instance))

    def _ask(self) -> None:
        """Ask with bytes that nobody knew before; answers to former questions are no use."""
        self._question = Question(SUBJECT, secrets.token_bytes(NONCE_BYTES))
        self._asked += 1
        while not self._came.empty():
            self._came.get_nowait()
        try:
            self._connection.post(SUBJECT, self._question.body, reply=self._place())
        except ConnectionLost as lost:
            raise GatewayUnreachable(str(lost)) from None

    def _place(self) -> str:
        return f"{self._inbox}.{self._asked}"

    def receive(self, subject: str, _reply: str, body: bytes, header: bytes | None) -> None:
        """Take in one answer; what is none is passed over."""
        if subject != self._place():
            return
        if nobody_listens(header, body):
            self._put(None)
            return
        headers, now_s = decode_headers(header), time.time()
        try:
            self._put(read_sighting(self._question, body, headers, self._trust(), now_s))
        except NoSighting:
            return

    def heard(self, event: ConnectionEvent) -> None:
        """The broker's word that we may not ask."""
        if event.kind is EventKind.REFUSED:
            self.refusal = event.detail
            self._put(None)

    def _put(self, sighting: Sighting | None) -> None:
        if not self._came.full():
            self._came.put_nowait(sighting)


@asynccontextmanager
async def open_finder(settings: ClientSettings) -> AsyncGenerator[Finder]:
    """Connect as an inspector.

    Raises:
        ConfigurationError: a setting or file is missing, or the broker refuses the credentials.
        GatewayUnreachable: the broker does not answer.
    """
    principal: str = settings.require("principal", "who looks for workers")
    trust_file = settings.require("trust_file", "whose workers are believed")
    connection = await connect(
        broker_settings(settings),
        name=f"mallku-inspector.{principal}",
        inbox_prefix=inbox_prefix(principal),
    )
    try:
        inbox = f"{inbox_prefix(principal)}.{secrets.token_hex(_INBOX_BYTES)}"
        trust = load_trust(trust_file)
        finder = Finder(connection, inbox, lambda: trust)
        connection.watch(finder.heard)
        await connection.listen(f"{inbox}.*", finder.receive)
        yield finder
    finally:
        await connection.close()
