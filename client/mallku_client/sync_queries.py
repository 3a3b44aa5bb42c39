"""Queries and transactions without `await`: what `mallku_client.sync` has of them."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, overload

import mallku_client as awaited
from mallku_client.facade import Blocking
from mallku_client.options import CallOptions
from mallku_client.session import Session
from mallku_client.transaction import TransactionSteps
from mallku_contracts.errors import ClientClosed

if TYPE_CHECKING:  # brings pydantic, which a client has no other use for
    from mallku_contracts.results import PlannedAccess, QueryStatistics, QueryWarning

P = ParamSpec("P")


class QueryCursor:
    """Rows, one after the other: `for row in cursor`; see `mallku_client.QueryCursor`."""

    def __init__(self, cursor: awaited.QueryCursor) -> None:
        self._cursor = cursor
        self._process = os.getpid()
        self._rows: deque[Any] = deque()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        while True:
            try:
                return self._rows.popleft()
            except IndexError:
                self._refill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def target(self) -> awaited.QueryCursor:
        """The awaited cursor behind this one; for the facade's own use."""
        if self._process != os.getpid():
            raise ClientClosed("this cursor belongs to the parent process; begin a new one")
        return self._cursor

    @property
    def id(self) -> str | None:
        """The name of the rest at the worker that holds it; None once everything is here."""
        return self._cursor.id

    def count(self) -> int | None:
        """How many rows there are altogether, where `count` or `full_count` was asked for."""
        return self._cursor.count()

    def full_count(self) -> int | None:
        """How many rows there were without the last `LIMIT`, where that was asked for."""
        return self._cursor.full_count()

    def statistics(self) -> QueryStatistics:
        """What the query did until its first page was there."""
        return self._cursor.statistics()

    def warnings(self) -> list[QueryWarning]:
        """What the query went on in spite of: `{"code", "message"}` of each."""
        return self._cursor.warnings()

    def plan(self) -> list[PlannedAccess] | None:
        """How the query got at its documents, where `profile` was asked for."""
        return self._cursor.plan()

    def batch(self) -> list[Any]:
        """The rows that are here and were not handed out yet; they stay."""
        return [*self._rows, *self._cursor.batch()]

    def empty(self) -> bool:
        """Whether no row is here now; there may be more to fetch."""
        return not self._rows and self._cursor.empty()

    def has_more(self) -> bool:
        """Whether rows are left to fetch."""
        return self._cursor.has_more()

    def next(self) -> Any:
        """The next row; `StopIteration` at the end."""
        return next(self)

    def take(self) -> list[Any]:
        """The rows that are here, or else the next page, handed out at once; none at the end."""
        return drained(self._rows) or self._take()

    def all(self) -> list[Any]:
        """Every row that was not handed out yet, as one list."""
        return drained(self._rows) + self._all()

    def close(self, ignore_missing: bool = True) -> bool:
        """Give the rest back; False where there was none. Rows that are here are dropped."""
        self._rows.clear()
        return self._close(ignore_missing)

    fetch = Blocking(awaited.QueryCursor.fetch)
    _take = Blocking(awaited.QueryCursor.take)
    _all = Blocking(awaited.QueryCursor.all)
    _close = Blocking(awaited.QueryCursor.close)

    def _refill(self) -> None:
        page = self._take()
        if not page:
            raise StopIteration
        self._rows.extend(page)


def drained(rows: deque[Any]) -> list[Any]:
    """What is taken off `rows` here, each by one step, so that no other thread has it too."""
    taken: list[Any] = []
    with suppress(IndexError):
        while True:
            taken.append(rows.popleft())
    return taken


class _BlockingQuery(Generic[P]):
    """The method that runs a query: its awaited cursor is put behind a blocking one."""

    def __init__(
        self, method: Callable[Concatenate[Any, P], Awaitable[awaited.QueryCursor]]
    ) -> None:
        self._call = Blocking(method)

    @overload
    def __get__(self, aql: None, owner: type) -> Callable[Concatenate[AQL, P], QueryCursor]: ...
    @overload
    def __get__(self, aql: AQL, owner: type) -> Callable[P, QueryCursor]: ...
    def __get__(self, aql: AQL | None, owner: type) -> Callable[..., QueryCursor]:
        call: Callable[..., awaited.QueryCursor] = self._call.__get__(aql, owner)

        @functools.wraps(call)
        def execute(*args: Any, **kwargs: Any) -> QueryCursor:
            return QueryCursor(call(*args, **kwargs))

        return execute


class AQL:
    """Queries; see `mallku_client.AQL`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def target(self) -> awaited.AQL:
        """The awaited queries behind these; for the facade's own use."""
        return (await self._session.database()).aql

    execute = _BlockingQuery(awaited.AQL.execute)
    explain = Blocking(awaited.AQL.explain)


class Transaction(TransactionSteps):
    """Collects writes in a `with` block; see `mallku_client.Transaction`."""

    def __init__(self, execute: Callable[..., list[Any]], options: CallOptions) -> None:
        super().__init__()
        self._execute = execute
        self._options = options

    def commit(self) -> list[Any]:
        """Carry out all writes, or none; what each of them answered.

        Raises:
            MallkuError: of the first step that fails, or of what the gateway refuses.
        """
        self._refuse_ended()
        self._ended = True
        if not self._jobs:
            return []
        return self._finish(self._execute(self.steps, **self._options))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.abort()
        elif not self._ended:
            self.commit()
