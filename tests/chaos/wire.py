"""A wire that loses answers, sends twice, and brings up old messages again.

Of two copies one may be carried out while the other is refused, and which of the two answers comes
to the caller is chance. NATS makes no copies, and nobody but the principal may publish on its
subjects; but who copies has to know that a refusal then says nothing about the other copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Mapping
from typing import Final

from mallku_client.transport import NoAnswer, Transport, TransportError
from mallku_contracts.envelope import CommandHeader, Envelope

LOST: Final = 0.02
"""Of the answers."""

TWICE: Final = 0.03
"""Of the messages, sent again at once."""

LATE: Final = 0.02
"""Of the messages, sent again after a while."""

LATE_S: Final = (0.2, 3.0)
"""After how long, seconds: at least, at most."""

MAX_LATE: Final = 32
"""Messages that wait to be sent again."""


class UnreliableTransport:
    """Carries requests over another transport, which it does these things to."""

    def __init__(self, inner: Transport, chance: random.Random, done: Counter[str]) -> None:
        self._inner = inner
        self._chance = chance
        self._done = done
        self._late: set[asyncio.Task[None]] = set()
        self.copied: set[str] = set()
        """Idempotency keys of commands of which a copy was sent."""

    async def request(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None, timeout_s: float
    ) -> bytes:
        """As `Transport.request`, where all goes well."""
        again = (subject, payload, headers, timeout_s)
        if self._chance.random() < TWICE:
            self._send_later(again, 0.0)
        if self._chance.random() < LATE:
            self._send_later(again, self._chance.uniform(*LATE_S))
        answer = await self._inner.request(subject, payload, headers, timeout_s)
        if self._chance.random() < LOST:
            self._done["answer lost"] += 1
            raise NoAnswer("the answer was lost")
        return answer

    async def close(self) -> None:
        """Forget what waits, and close the other transport."""
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)
        await self._inner.close()

    def _send_later(
        self, again: tuple[str, bytes, Mapping[str, str] | None, float], wait_s: float
    ) -> None:
        if len(self._late) >= MAX_LATE:
            return
        self._done["sent again late" if wait_s else "sent twice"] += 1
        self.copied.add(CommandHeader.read(Envelope.split(again[1]).protected).idem)
        task = asyncio.create_task(self._send(again, wait_s))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _send(
        self, again: tuple[str, bytes, Mapping[str, str] | None, float], wait_s: float
    ) -> None:
        await asyncio.sleep(wait_s)
        with contextlib.suppress(TransportError):  # whatever is said of a second copy
            await self._inner.request(*again)
