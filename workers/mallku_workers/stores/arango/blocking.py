"""Works as a thread of the store carries them out: every call here waits for ArangoDB.

Each is held to the time that its work has left; writes that meet others are tried again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from mallku_contracts.errors import DeadlineExceeded, MallkuError, RequestError, Unavailable
from mallku_workers.stores.arango import catalog, combining, queries, reading, several
from mallku_workers.stores.arango.budget import budget_for, spending
from mallku_workers.stores.arango.collection import Collection
from mallku_workers.stores.arango.combining import Prepared
from mallku_workers.stores.arango.errors import Conflict
from mallku_workers.stores.arango.server import Server
from mallku_workers.stores.arango.settings import ArangoSettings
from mallku_workers.stores.arango.writing import Outcome, Writing
from mallku_workers.stores.base import Done, Work

FIRST_WAIT_S: Final = 0.002
"""Before a write that met another one is tried again, seconds; it doubles with every try."""

_MS_PER_S: Final = 1_000

T = TypeVar("T")


def within(seconds: float, act: Callable[..., T], *arguments: object) -> T:
    """What `act` returns; its requests together have that many seconds."""
    with spending(budget_for(seconds)):
        return act(*arguments)


def refuse_late(deadline_ms: int, now_ms: int) -> None:
    """Raise `DeadlineExceeded` where the caller's time was over; both Unix milliseconds."""
    if now_ms > deadline_ms:
        raise DeadlineExceeded("the caller's time was over before the work began")


class Blocking:
    """Carries out works in the calling thread; any number of threads may call at once.

    Args:
        clock: Unix milliseconds.
    """

    def __init__(self, settings: ArangoSettings, clock: Callable[[], int]) -> None:
        self._settings = settings
        self._clock = clock

    def read(self, server: Server, work: Work) -> Done:
        """Answer one of the reads of documents or of the catalog."""
        refuse_late(work.deadline_ms, self._clock())
        name = work.operation.name
        act = reading.READS.get(name) or catalog.READS[name]
        with spending(budget_for(self._left_s([work]))):
            return Done(act(server, work, work.arguments))

    def timed(self, deadline_ms: int, act: Callable[..., T], *arguments: object) -> T:
        """A read that has time until `deadline_ms`."""
        now_ms = self._clock()
        refuse_late(deadline_ms, now_ms)
        return within((deadline_ms - now_ms) / _MS_PER_S, act, *arguments)

    def administer(self, server: Server, work: Work) -> Done:
        """Carry out a change of the catalog."""
        refuse_late(work.deadline_ms, self._clock())
        with spending(budget_for(self._left_s([work]), writes=True)):
            return catalog.administer(server, work, self._clock())

    def write_combined(self, server: Server, prepared: Sequence[Prepared]) -> list[Outcome]:
        """Carry out writes of one group in one request; the outcome of each."""
        works = [one.work for one in prepared]
        try:
            with spending(budget_for(self._left_s(works), writes=True)):
                return combining.carry_out(server, prepared)
        except (RequestError, Conflict):
            # Nothing was done. The transaction finds out for whom, and says why.
            return self.write(server, works)

    def write(self, server: Server, works: Sequence[Work]) -> list[Outcome]:
        """Carry out writes in one transaction, each alone where they meet other writes.

        Raises:
            Unavailable: one work met other writes at every try; nothing was done.
        """
        wait_s = FIRST_WAIT_S
        for _ in range(self._settings.conflict_retries + 1):
            try:
                with spending(budget_for(self._left_s(works), writes=True)):
                    return self._write_once(server, works)
            except Conflict:
                if len(works) > 1:
                    return [self._write_alone(server, work) for work in works]
                time.sleep(wait_s * random.random())  # noqa: S311 - only spreads tries
                wait_s *= 2
        raise Unavailable("other writes were at the same documents again and again")

    def _write_alone(self, server: Server, work: Work) -> Outcome:
        try:
            return self.write(server, [work])[0]
        except MallkuError as error:
            return error

    def _write_once(self, server: Server, works: Sequence[Work]) -> list[Outcome]:
        for work in works if len(works) == 1 else ():
            refuse_late(work.deadline_ms, self._clock())
        first = works[0]
        if first.operation.name == "aql":
            return [queries.modify(server, first, self._clock())]
        if first.operation.name == "transaction":
            return [several.transaction(server, first, _collection_of, self._clock())]
        collection = _collection_of(server, first.collection)
        return Writing(server, collection, self._clock()).carry_out(works)

    def _left_s(self, works: Iterable[Work]) -> float:
        return max((max(work.deadline_ms for work in works) - self._clock()) / _MS_PER_S, 0.0)


def _collection_of(server: Server, name: str) -> Collection:
    known = server.call("GET", f"/_api/collection/{name}")
    return Collection(name, edge=known["type"] == catalog.EDGES)
