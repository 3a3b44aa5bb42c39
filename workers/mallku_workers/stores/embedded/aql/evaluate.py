"""Runs a query over one snapshot or within one transaction, row by row as they are asked for."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mallku_contracts.aql import tree as t
from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.run import Memory, Run, Statistics
from mallku_workers.stores.embedded.aql.scope import Scope
from mallku_workers.stores.embedded.aql.source import Source
from mallku_workers.stores.embedded.aql.statements import Statements
from mallku_workers.stores.embedded.aql.warnings import Warnings


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Under what a query runs.

    Attributes:
        now_ms: What `DATE_NOW()` says throughout, Unix milliseconds.
        memory_bytes: What the query may keep at a time, bytes (an estimate).
        full_count: Count the rows before the last LIMIT.
        fail_on_warning: End the query at its first warning.
        database: What `CURRENT_DATABASE()` says.
        user: What `CURRENT_USER()` says.
        may_read: Whether documents met on the way may come from a collection; None for any.
    """

    now_ms: int
    memory_bytes: int
    full_count: bool = False
    fail_on_warning: bool = False
    database: str = "_system"
    user: str | None = None
    may_read: Callable[[str], bool] | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """A query under way. What it costs and warns of is known when `rows` is at its end."""

    rows: Iterator[Any]
    run: Run

    @property
    def statistics(self) -> Statistics:
        """What was done so far."""
        return self.run.statistics

    @property
    def warnings(self) -> list[tuple[int, str]]:
        """ArangoDB's number and a sentence for each warning so far."""
        return list(self.run.call.warnings)


def evaluate(
    query: t.Query, binds: dict[str, Any], source: Source, circumstances: Circumstances
) -> Execution:
    """Prepare a query that `check_run` let pass; nothing is read before the first row.

    Raises:
        CollectionNotFound, InvalidQuery: when it is prepared.
        QueryFailed, ResourceLimit, DocumentError: from `rows`.
    """
    call = Call(
        now_ms=circumstances.now_ms,
        warnings=Warnings(fatal=circumstances.fail_on_warning),
        check=source.check,
        rng=random.SystemRandom(),
        database=circumstances.database,
        user=circumstances.user,
    )
    run = Run(
        source,
        binds,
        call,
        Memory(circumstances.memory_bytes),
        circumstances.full_count,
        circumstances.may_read,
    )
    statements = Statements(run)
    for name in query.collections:
        statements.expressions.collection(name)  # WITH names what has to be there
    values = statements.query(query.statements, Scope(run, statements.subquery))
    return Execution(values(run.new_row()), run)
