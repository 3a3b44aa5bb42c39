"""The checkpoint stream in memory: stores, dedupes, acknowledges, or fails in one of its ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mallku_broker.acknowledgements import Ack, NotAcknowledged, NotPublished
from mallku_contracts.trail.checkpoint import Checkpoint, open_checkpoint
from mallku_contracts.trust import Trust
from tests.support.simulated_trail import Fate


class SimulatedCheckpoints:
    """Stands for the acknowledgement multiplexer and the stream behind it.

    Attributes:
        stream: Subject, message id and body of what is stored, in order.
        tries: The body of every publish, in order, stored or not.
        fate: Decides about each publish, by its place among them; tests put another function here.
    """

    def __init__(self, trust: Trust) -> None:
        self.stream: list[tuple[str, str, bytes]] = []
        self.tries: list[bytes] = []
        self.fate: Callable[[int], Fate] = lambda _try: Fate.STORED
        self._trust = trust

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """What is stored, opened."""
        return [open_checkpoint(body, self._trust) for _, _, body in self.stream]

    def publish(
        self, subject: str, body: bytes, *, message_id: str, timeout: float
    ) -> asyncio.Future[Ack]:
        """Publish one checkpoint."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Ack] = loop.create_future()
        self.tries.append(body)
        fate = self.fate(len(self.tries))
        if fate in {Fate.STORED, Fate.UNHEARD}:
            ack = self._store(subject, body, message_id)
            if fate is Fate.STORED:
                future.set_result(ack)
                return future
        if fate is Fate.UNSENT:
            future.set_exception(NotPublished("not connected"))
        else:
            loop.call_later(timeout, _time_out, future)
        return future

    def _store(self, subject: str, body: bytes, message_id: str) -> Ack:
        ids = [known for _, known, _ in self.stream]
        if message_id in ids:
            return Ack("MALLKU_CHECKPOINTS", ids.index(message_id) + 1, duplicate=True)
        self.stream.append((subject, message_id, body))
        return Ack("MALLKU_CHECKPOINTS", len(self.stream), duplicate=False)


def _time_out(future: asyncio.Future[Ack]) -> None:
    if not future.done():
        future.set_exception(NotAcknowledged("no acknowledgement in time"))
