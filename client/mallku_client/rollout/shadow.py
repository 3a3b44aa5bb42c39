"""Asks the gateway what the old way was asked, beside the caller, and counts how they differ."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections import Counter, deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from collections.abc import (
    Set as AbstractSet,
)
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import BoundedSemaphore, Lock
from typing import Any, Final, Self

from mallku_client.rollout.comparing import Verdict, compare, snapshot
from mallku_client.rollout.forking import begin_in_children

MAX_WAITING: Final = 100
"""Comparisons that wait; one more is skipped, so that no caller waits for a shadow."""

MAX_ROWS: Final = 10_000
"""Rows of one answer that are compared; a longer one is skipped."""

MAX_REMEMBERED: Final = 100
"""Differences that are remembered, the last ones."""

THREADS: Final = 2

_VALUES: Final = (str, Sequence, Mapping, AbstractSet)
"""What can be gone through and is an answer by itself; other such things are cursors."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Two answers that are not the same: where, and no word of what stands there."""

    collection: str
    operation: str
    verdict: Verdict
    paths: tuple[str, ...]
    error: str = ""


class Shadow:
    """Compares; bounded in number, in size and in what it remembers. Each process has its own.

    Args:
        same_database: As `comparing.compare` has it.
        on_difference: Told of each that is `different` or `failed`, in a thread of the shadow's.
    """

    def __init__(
        self,
        *,
        same_database: bool = True,
        on_difference: Callable[[Difference], None] | None = None,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._same_database = same_database
        self._on_difference = on_difference
        self._max_waiting = max_waiting
        self._closed = False
        self._begin()
        begin_in_children(self)

    def _begin(self) -> None:
        self._places = BoundedSemaphore(self._max_waiting)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="mallku-shadow")
        self._lock = Lock()
        self._counts: dict[str, Counter[Verdict]] = {}
        self._last: deque[Difference] = deque(maxlen=MAX_REMEMBERED)

    def begin_in_child(self) -> None:
        """Count anew in a forked child; what waits is the parent's to compare."""
        self._begin()
        if self._closed:
            self._pool.shutdown()

    def report(self) -> dict[str, dict[str, int]]:
        """How many comparisons of each verdict, by collection."""
        with self._lock:
            return {
                name: {str(verdict): count for verdict, count in counts.items()}
                for name, counts in self._counts.items()
            }

    @property
    def differences(self) -> list[Difference]:
        """The last ones, oldest first."""
        with self._lock:
            return list(self._last)

    def close(self) -> None:
        """Finish what is under way and take no more."""
        self._closed = True
        self._pool.shutdown(wait=True)

    def beside(self, collection: str, operation: str, answer: Any, ask: Callable[[], Any]) -> Any:
        """The old way's answer for the caller; the comparison follows when it is complete.

        An awaitable answer is compared when it was awaited, a cursor when its last row was read.
        """

        def later(text: str | None) -> None:
            self._later(collection, operation, text, ask)

        return _when_awaited(answer, later) if inspect.isawaitable(answer) else _seen(answer, later)

    def _later(
        self, collection: str, operation: str, text: str | None, ask: Callable[[], Any]
    ) -> None:
        if text is None or not self._places.acquire(blocking=False):
            self._count(Difference(collection, operation, Verdict.SKIPPED, ()))
            return
        try:
            work = self._pool.submit(self._compare, collection, operation, text, ask)
        except RuntimeError:  # closed meanwhile
            self._places.release()
            return
        work.add_done_callback(lambda _work: self._places.release())

    def _compare(self, collection: str, operation: str, text: str, ask: Callable[[], Any]) -> None:
        try:
            other = snapshot(_complete(ask()))
        except Exception as error:  # noqa: BLE001 - whatever the gateway's way raises is a finding
            kind = type(error).__name__
            self._count(Difference(collection, operation, Verdict.FAILED, (), kind))
            return
        if other is None:
            self._count(Difference(collection, operation, Verdict.SKIPPED, ()))
            return
        verdict, paths = compare(text, other, same_database=self._same_database)
        self._count(Difference(collection, operation, verdict, paths))

    def _count(self, found: Difference) -> None:
        notable = found.verdict in {Verdict.DIFFERENT, Verdict.FAILED}
        with self._lock:
            self._counts.setdefault(found.collection, Counter())[found.verdict] += 1
            if notable:
                self._last.append(found)
        if notable and self._on_difference is not None:
            self._on_difference(found)


Later = Callable[[str | None], None]
"""Takes the snapshot of a complete answer; None when there is none to compare."""


class SeenRows:
    """A cursor as it was, whose rows are seen as the caller takes them."""

    def __init__(self, rows: Any, later: Later) -> None:
        self._rows = rows
        self._later = later
        self._seen: list[str] | None = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)

    def __len__(self) -> int:
        return len(self._rows)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def __enter__(self) -> Self:
        self._rows.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        return self._rows.__exit__(*error)

    async def __aenter__(self) -> Self:
        await self._rows.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> Any:
        return await self._rows.__aexit__(*error)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self._see(next(self._rows))
        except StopIteration:
            self._end()
            raise

    async def __anext__(self) -> Any:
        try:
            return self._see(await anext(self._rows))
        except StopAsyncIteration:
            self._end()
            raise

    def _see(self, row: Any) -> Any:
        """Remember a row as it is now: callers change the rows that they get."""
        if self._seen is not None:
            text = snapshot(row)
            if text is None or len(self._seen) == MAX_ROWS:
                self._seen = None
            else:
                self._seen.append(text)
        return row

    def _end(self) -> None:
        later, self._later = self._later, _nothing
        later(None if self._seen is None else f"[{', '.join(self._seen)}]")


def _nothing(_text: str | None) -> None:
    """An answer is compared once, however often its end is asked for."""


def _seen(answer: Any, later: Later) -> Any:
    if isinstance(answer, Iterator | AsyncIterator):
        return SeenRows(answer, later)
    later(snapshot(answer))
    return answer


async def _when_awaited(answer: Awaitable[Any], later: Later) -> Any:
    return _seen(await answer, later)


def _complete(answer: Any) -> Any:
    """Whatever the gateway's way answers with, as a value: awaited, and read to its end."""
    if inspect.isawaitable(answer) or _rows_to_await(answer):
        return asyncio.run(_completed(answer))
    return list(itertools.islice(answer, MAX_ROWS + 1)) if _rows(answer) else answer


async def _completed(answer: Any) -> Any:
    value = await answer if inspect.isawaitable(answer) else answer
    if not _rows_to_await(value):
        return list(itertools.islice(value, MAX_ROWS + 1)) if _rows(value) else value
    rows: list[Any] = []
    async for row in value:
        rows.append(row)
        if len(rows) > MAX_ROWS:
            break
    return rows


def _rows(answer: Any) -> bool:
    """Whether an answer is a cursor, in whichever manner it gives its rows."""
    return isinstance(answer, Iterable) and not isinstance(answer, _VALUES)


def _rows_to_await(answer: Any) -> bool:
    return isinstance(answer, AsyncIterable) and not isinstance(answer, Iterable)
