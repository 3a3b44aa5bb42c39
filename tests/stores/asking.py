"""How tests have a store run queries and transactions, prepared as the pipeline prepares them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mallku_contracts.aql.analysis import analyse
from mallku_contracts.aql.binding import check_run
from mallku_contracts.aql.parsing import parse
from mallku_contracts.arguments import Aql, read_arguments
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.policy import DocumentRules
from mallku_workers.stores.base import Done, LedgerClaim, RunnableQuery, Step, Store, Work
from tests.stores.calling import DATABASE, PATIENCE_MS, make_claim, make_work, now_ms

MANY_ROWS = 1_000_000


def make_query(
    text: str, binds: dict[str, Any] | None = None, *, max_rows: int = MANY_ROWS, **arguments: Any
) -> Work:
    """Work of `aql`; a query that modifies has a claim of its own."""
    asked = read_arguments(Aql, {"query": text, "bind_vars": binds or {}, **arguments})
    tree = parse(text)
    check_run(tree, asked.bind_vars)
    modifies = analyse(tree).modifies and not asked.explain
    query = RunnableQuery(tree, asked.bind_vars, asked, modifies, max_rows)
    claim = make_claim() if modifies else None
    ends_ms = now_ms() + PATIENCE_MS
    return Work(OPERATIONS["aql"], DATABASE, "@", asked, ends_ms, claim, query=query)


def make_transaction(
    *steps: tuple[str, str, dict[str, Any]],
    rules: dict[int, DocumentRules] | None = None,
    claim: LedgerClaim | None = None,
) -> Work:
    """Work of `transaction`, of steps as operation, collection and arguments; rules by place."""
    named = [{"operation": o, "collection": c, "arguments": a} for o, c, a in steps]
    work = make_work("transaction", "@", {"steps": named}, claim=claim or make_claim())
    prepared = tuple(
        Step(
            OPERATIONS[operation],
            collection,
            read_arguments(OPERATIONS[operation].arguments, arguments),
            (rules or {}).get(place),
        )
        for place, (operation, collection, arguments) in enumerate(steps)
    )
    return replace(work, steps=prepared)


@dataclass(frozen=True)
class Asker:
    """Runs queries and transactions in a store."""

    store: Store

    async def __call__(
        self, text: str, binds: dict[str, Any] | None = None, **arguments: Any
    ) -> list[Any]:
        """Every row of a query, its pages one after the other."""
        done = await self.done(text, binds, **arguments)
        rows: list[Any] = list(done.result["result"])
        if done.cursor is None:
            return rows
        more = True
        while more:
            page, more = await done.cursor.fetch(now_ms() + PATIENCE_MS)
            rows += page
        await done.cursor.close()
        return rows

    async def done(self, text: str, binds: dict[str, Any] | None = None, **arguments: Any) -> Done:
        """What the store says of a query, its first page in it."""
        return await self.store.execute(make_query(text, binds, **arguments))

    async def transaction(self, *steps: tuple[str, str, dict[str, Any]], **given: Any) -> Done:
        """What the store says of a transaction."""
        return await self.store.execute(make_transaction(*steps, **given))
