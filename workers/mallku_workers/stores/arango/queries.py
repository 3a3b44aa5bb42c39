"""AQL of callers, authorized before: reading queries page by page, changing ones in one commit.

What is sent is the text of the tree that was authorized, never the text that came.

A changing query runs in a stream transaction with its ledger entry. What it did has to be known for
the audit trail, so it is made to return that beside what it returned (`rewriting`). Traversals of
whoever may not read everything are held to what they may (`walking`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from mallku_contracts import arguments as a
from mallku_contracts.aql.analysis import analyse
from mallku_contracts.aql.printing import to_text as aql_text
from mallku_contracts.arguments import Document
from mallku_contracts.errors import MallkuError, ResourceLimit
from mallku_workers.stores.arango.collection import Collection
from mallku_workers.stores.arango.planning import json_bytes
from mallku_workers.stores.arango.rewriting import Rewritten, rewrite
from mallku_workers.stores.arango.server import Answered, Server
from mallku_workers.stores.arango.texts import LEDGER
from mallku_workers.stores.arango.walking import confined
from mallku_workers.stores.arango.writing import Outcome, Writing
from mallku_workers.stores.base import (
    QueryCollections,
    QueryPage,
    RunnableQuery,
    Work,
    runnable,
)
from mallku_workers.stores.documents import refuse_deep, refuse_deep_row, refuse_large
from mallku_workers.stores.placing import placing
from mallku_workers.stores.weighing import size_of

_FULL: Final = "EnumerateCollectionNode"
_INDEXED: Final = "IndexNode"
_STATISTICS: Final = {
    "writesExecuted": "writes_executed",
    "writesIgnored": "writes_ignored",
    "scannedFull": "scanned_full",
    "scannedIndex": "scanned_index",
    "filtered": "filtered",
    "peakMemoryUsage": "peak_memory",
}


def collections_of(server: Server, query: RunnableQuery) -> QueryCollections:
    """What the query names, and what ArangoDB says that it would use, graphs spelled out."""
    analysis = analyse(query.tree)
    reads = set(analysis.read_names(query.binds))
    writes = analysis.write_names(query.binds)
    for used in _explain(server, query)["plan"]["collections"]:
        if used["name"] not in writes:
            reads.add(str(used["name"]))
    return QueryCollections(frozenset(reads), writes)


def _explain(server: Server, query: RunnableQuery) -> dict[str, Any]:
    body = {"query": aql_text(query.tree), "bindVars": query.binds, "options": {"allPlans": False}}
    with placing(query):
        answer: dict[str, Any] = server.call("POST", "/_api/explain", body=body)
    return answer


def explain(server: Server, work: Work) -> dict[str, Any]:
    """How a query would be run; nothing is."""
    plan = _plan(_explain(server, runnable(work))["plan"])
    return {**_told(Answered([], more=None, count=None, extra={})), "plan": plan}


def _plan(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"collection": node.get("collection"), "access": _access(node)}
        for node in plan.get("nodes", ())
        if node["type"] in (_FULL, _INDEXED)
    ]


def _access(node: dict[str, Any]) -> str:
    if node["type"] == _FULL:
        return "full"
    [index, *_] = node["indexes"]
    return str(index["type"] if index["type"] == "primary" else index["name"])


class Rows:
    """The rows of a reading query that ArangoDB has not given yet, or not all of us.

    Args:
        most: Rows that may come altogether; `ResourceLimit` beyond.
    """

    def __init__(self, server: Server, answered: Answered, most: int) -> None:
        self._server = server
        self._cursor = answered.more
        self._waiting: list[Any] = answered.rows
        self._most = most
        self._given = 0

    def page(self, count: int) -> QueryPage:
        """Up to `count` rows, fewer where they would be too large together."""
        rows: list[Any] = []
        size = 0
        for row in self._each(count):
            size += size_of(row)
            if rows and size > self._server.settings.max_result_bytes:
                break
            refuse_deep_row(row)
            rows.append(row)
        self._waiting = self._waiting[len(rows) :]
        self._given += len(rows)
        if self._given > self._most:
            raise ResourceLimit(f"more than the {self._most} rows that you may have")
        if not self._waiting and self._cursor is not None:
            self._more()
        return QueryPage(rows, more=bool(self._waiting))

    def close(self) -> None:
        """Let ArangoDB forget the rest."""
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            self._server.forget(cursor)

    def _each(self, count: int) -> Iterator[Any]:
        """The first rows, fetching as long as there are too few."""
        place = 0
        while place < count:
            if place == len(self._waiting):
                if self._cursor is None:
                    return
                self._more()
                continue
            yield self._waiting[place]
            place += 1

    def _more(self) -> None:
        answered = self._server.next_rows(self._cursor or "")
        self._waiting = self._waiting + answered.rows
        self._cursor = answered.more


def read(server: Server, work: Work) -> tuple[Rows, dict[str, Any]]:
    """Run a reading query; its rows, and its first page with what was asked to be told about it."""
    query = runnable(work)
    text, asked = aql_text(confined(query)), query.arguments
    with placing(query):
        answered = server.open_query(
            text,
            query.binds,
            batch_size=asked.batch_size,
            count=asked.count or asked.full_count,
            full_count=asked.full_count,
            fail_on_warning=asked.fail_on_warning,
        )
    rows = Rows(server, answered, query.max_rows)
    try:
        page = rows.page(asked.batch_size)
        result = {**_told(answered), "result": page.rows, "more": page.more}
        if asked.profile:
            result["plan"] = _plan(_explain(server, query)["plan"])
    except MallkuError:
        with suppress(MallkuError):  # ArangoDB forgets them by itself, later
            rows.close()
        raise
    if asked.count or asked.full_count:
        result["count"] = answered.count
    if asked.full_count:
        full = answered.extra.get("stats", {}).get("fullCount")
        result["full_count"] = answered.count if full is None else full
    return rows, result


def _told(answered: Answered) -> dict[str, Any]:
    stats = answered.extra.get("stats", {})
    return {
        "result": [],
        "more": False,
        "warnings": [
            {"code": one["code"], "message": one["message"]}
            for one in answered.extra.get("warnings", ())
        ],
        "statistics": {ours: stats.get(theirs, 0) for theirs, ours in _STATISTICS.items()},
    }


# Changing


def modify(server: Server, work: Work, now_ms: int) -> Outcome:
    """Run a query that changes documents, with its ledger entry, in one commit.

    Raises:
        Conflict: nothing was done, and another try makes sense.
        ResourceLimit, ResultTooLarge: it returns, or changes, more than one answer holds.
    """
    query = runnable(work)
    rewritten = rewrite(confined(query), query.binds)
    names = [change.collection for change in rewritten.changes]
    writing = Writing(server, Collection(names[0]), now_ms)
    one = writing.doing(work)
    with placing(query), server.transaction(sorted({LEDGER, *names}), []) as transaction:
        writing.look_up(transaction, [one])
        if one.outcome is not None:
            return one.outcome
        answered = server.open_query(
            rewritten.text,
            query.binds,
            batch_size=a.MAX_PAGE_DOCUMENTS,
            fail_on_warning=query.arguments.fail_on_warning,
            transaction=transaction.number,
        )
        one.stored = rewritten.stored(answered.rows)
        _refuse_versions([made.new for made in one.stored if made.new is not None])
        one.result = _changed(server, query, rewritten, answered)
        entered = writing.enter(transaction, [one])
        transaction.commit()
    return one.finish(entered[one.claim.key])


def _refuse_versions(news: Sequence[Document]) -> None:
    refuse_large(sum(len(json_bytes(new)) for new in news))
    for new in news:
        refuse_deep(new)


def _changed(
    server: Server, query: RunnableQuery, rewritten: Rewritten, answered: Answered
) -> dict[str, Any]:
    rows = [row["row"] for row in answered.rows] if rewritten.returns else []
    if len(rows) > query.max_rows:
        raise ResourceLimit(f"more than the {query.max_rows} rows that you may have")
    size = sum(map(size_of, rows))
    if answered.more is not None:
        with suppress(MallkuError):  # ArangoDB forgets them by itself, later
            server.forget(answered.more)
    if answered.more is not None or size > server.settings.max_result_bytes:
        raise ResourceLimit(
            f"a query that changes documents touches at most {a.MAX_PAGE_DOCUMENTS} and returns at"
            f" most {server.settings.max_result_bytes} bytes; nothing was done"
        )
    for row in rows:
        refuse_deep_row(row)
    result = {**_told(answered), "result": rows}
    if query.arguments.count or query.arguments.full_count:
        result["count"] = len(rows)
    return result
