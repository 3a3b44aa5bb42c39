"""One ArangoDB database as the store's threads speak to it: requests, queries, transactions.

Everything here blocks, and is called from the store's own threads alone.
"""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import structlog
from arango.client import ArangoClient
from arango.request import Request
from arango.response import Response

from mallku_contracts.errors import MallkuError, OutcomeUnknown, Unavailable
from mallku_workers.stores.arango.budget import Budget, budget_for, current_budget, spending
from mallku_workers.stores.arango.errors import refuse
from mallku_workers.stores.arango.http import ORIGIN, LeanClient
from mallku_workers.stores.arango.settings import ArangoSettings
from mallku_workers.stores.documents import to_text

TRANSACTION: Final = "x-arango-trx-id"
"""The header that makes a request part of a stream transaction."""

KILL_S: Final = 2.0
"""For finding and killing a query whose caller has gone, seconds."""

LEAST_LOCK_WAIT_S: Final = 0.01
"""The shortest wait for a lock, seconds."""

_MS_PER_S: Final = 1_000
_log = structlog.get_logger("mallku.store")


@dataclass(frozen=True, slots=True)
class Answered:
    """Some rows of a query; `more` names the cursor of the others, None where these are all."""

    rows: list[Any]
    more: str | None
    count: int | None
    extra: dict[str, Any]


def _answered(answer: dict[str, Any]) -> Answered:
    more = str(answer["id"]) if answer.get("hasMore") else None
    return Answered(answer["result"], more, answer.get("count"), answer.get("extra", {}))


class Server:
    """Requests to one database.

    Args:
        name: The database.
    """

    def __init__(self, client: LeanClient, name: str, settings: ArangoSettings) -> None:
        driver = ArangoClient(
            ORIGIN,
            resolver_max_tries=1,
            http_client=client,
            serializer=to_text,
            deserializer=json.loads,
        )
        self.name = name
        self.settings = settings
        self._connection = driver.db(name, username="", password="").conn
        self._calls = itertools.count()
        self._instance = secrets.token_hex(6)

    def send(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        body: Any = None,
        transaction: str | None = None,
    ) -> Response:
        """One request, whatever its answer; a `body` that is a text is JSON already."""
        headers = {TRANSACTION: transaction} if transaction else None
        request = Request(method.lower(), path, headers, params, body)
        return self._connection.send_request(request)

    def call(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        body: Any = None,
        transaction: str | None = None,
    ) -> Any:
        """One request's answer; raises the coded error where it is none."""
        response = self.send(method, path, params=params, body=body, transaction=transaction)
        refuse(response, writes=current_budget().writes)
        return response.body

    def query(self, text: str, binds: dict[str, Any] | str, transaction: str | None = None) -> Any:
        """All rows of an AQL query, which ends when the thread's budget does.

        Args:
            binds: The bind values, or their JSON where it is made already.
        """
        mark = self._mark()
        with self._killing(mark):
            return self._query(f"{text} /* mallku {mark} */", binds, transaction)

    def _query(self, text: str, binds: dict[str, Any] | str, transaction: str | None) -> list[Any]:
        frame = self._frame(text, _ALL_ROWS, current_budget().left_s)
        values = binds if isinstance(binds, str) else to_text(binds)
        body = f'{to_text(frame)[:-1]},"bindVars":{values}}}'
        answer = self.call("POST", "/_api/cursor", body=body, transaction=transaction)
        rows: list[Any] = answer["result"]
        return rows

    def _frame(self, text: str, batch_size: int, runtime_s: float) -> dict[str, Any]:
        longest_s = self.settings.max_runtime_ms / _MS_PER_S
        runtime_s = max(min(runtime_s, longest_s), _LEAST_RUNTIME_S)
        return {
            "query": text,
            "batchSize": batch_size,
            "memoryLimit": self.settings.memory_limit_bytes,
            "options": {"maxRuntime": runtime_s, "stream": False},
        }

    def open_query(  # noqa: PLR0913 - what a query can be asked for
        self,
        text: str,
        binds: dict[str, Any],
        *,
        batch_size: int,
        count: bool = False,
        full_count: bool = False,
        fail_on_warning: bool = False,
        transaction: str | None = None,
    ) -> Answered:
        """The first rows of a query, and where the others are."""
        mark = self._mark()
        frame = self._frame(f"{text} /* mallku {mark} */", batch_size, current_budget().left_s)
        frame |= {"bindVars": binds, "count": count, "ttl": self.settings.cursor_idle_s}
        frame["options"] |= {"fullCount": full_count, "failOnWarning": fail_on_warning}
        with self._killing(mark):
            answer = self.call("POST", "/_api/cursor", body=frame, transaction=transaction)
        return _answered(answer)

    def next_rows(self, cursor: str) -> Answered:
        """The next rows of a query."""
        return _answered(self.call("POST", f"/_api/cursor/{quote(cursor, safe='')}"))

    def forget(self, cursor: str) -> None:
        """Give a cursor's rows up."""
        self.call("DELETE", f"/_api/cursor/{quote(cursor, safe='')}")

    def _mark(self) -> str:
        return f"{self._instance}-{next(self._calls)}"

    @contextmanager
    def _killing(self, mark: str) -> Generator[None]:
        """End the query that has this mark when its time is over within the block."""
        try:
            yield
        except (OutcomeUnknown, Unavailable):
            if current_budget().left_s <= 0:
                self._kill(mark)
            raise

    def _kill(self, mark: str) -> None:
        """End a query that nobody waits for; closing the connection did not."""
        try:
            with spending(budget_for(KILL_S)):
                for query in self.call("GET", "/_api/query/current"):
                    if mark in query["query"]:
                        self.call("DELETE", f"/_api/query/{quote(str(query['id']), safe='')}")
        except MallkuError as error:
            _log.warning("query_not_killed", reason=str(error))

    @contextmanager
    def transaction(self, write: list[str], exclusive: list[str]) -> Generator[Transaction]:
        """A stream transaction, undone unless it was committed.

        Nothing of it is kept before the commit: until then silence means that nothing was done.
        Locks are waited for no longer than their answer is: what ArangoDB gives to somebody who has
        gone stays locked until it counts as idle, for a minute.
        """
        budget = current_budget()
        wait_s = min(self.settings.lock_timeout_ms / _MS_PER_S, budget.left_s)
        with spending(Budget(budget.ends)):
            begun = self.call(
                "POST",
                "/_api/transaction/begin",
                body={
                    "collections": {"write": write, "exclusive": exclusive},
                    "lockTimeout": max(wait_s, LEAST_LOCK_WAIT_S),  # 0 would wait for ever
                },
            )
            transaction = Transaction(self, str(begun["result"]["id"]), budget)
            try:
                yield transaction
            finally:
                transaction.abandon()


class Transaction:
    """A stream transaction under way."""

    def __init__(self, server: Server, number: str, budget: Budget) -> None:
        self._server = server
        self.number = number
        self._budget = budget
        self._open = True

    def query(self, text: str, binds: dict[str, Any]) -> Any:
        """All rows of a query inside the transaction."""
        return self._server.query(text, binds, self.number)

    def call(
        self, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None
    ) -> Any:
        """A request inside the transaction."""
        return self._server.call(method, path, params=params, body=body, transaction=self.number)

    def commit(self) -> None:
        """Make it count; from here on silence means that nobody knows."""
        self._open = False
        with spending(self._budget):
            self._server.call("PUT", f"/_api/transaction/{self.number}")

    def abandon(self) -> None:
        """Undo it, unless it was committed; ArangoDB does it by itself where this fails."""
        if not self._open:
            return
        self._open = False
        try:
            with spending(budget_for(KILL_S)):
                self._server.call("DELETE", f"/_api/transaction/{self.number}")
        except MallkuError as error:
            _log.warning("transaction_not_aborted", reason=str(error))


_ALL_ROWS: Final = 1_000_000
_LEAST_RUNTIME_S: Final = 0.001
