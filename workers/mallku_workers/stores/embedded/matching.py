"""Filters: the SQL narrows, the order keys decide.

A filter is an attribute path and the value that has to stand there; null matches missing. Keys and
indexes narrow exactly, for they hold the same order keys that decide equality. For everything else
SQLite looks for the value's text in the document's text before we parse it, which is only ever too
generous.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from mallku_contracts.arguments import Document, Filters
from mallku_contracts.errors import InvalidDocument
from mallku_contracts.policy import Condition, DocumentRules
from mallku_contracts.policy.condition import All, Comparison
from mallku_workers.stores.documents import is_storable, to_text
from mallku_workers.stores.embedded.catalog import Collection, Index, gathering
from mallku_workers.stores.embedded.rows import CHUNK_DOCUMENTS, Row, gather
from mallku_workers.stores.embedded.values import AFTER_PREFIX, equal_to, order_key
from mallku_workers.stores.paths import Path, lookup, parse_path
from mallku_workers.stores.rules import sees

_KEY: Final = ("_key",)
_ID: Final = ("_id",)
_PLAIN_INTEGERS: Final = 10**15


@dataclass(slots=True)
class Plan:
    """How a search goes about it.

    Attributes:
        conditions: SQL conditions over key, body and index columns; placeholders only.
        parameters: What belongs into the placeholders.
        residual: What the SQL does not decide exactly: which attributes to hold to what.
        rules: What else holds for a match.
        index: The index in use, None where the table itself is searched.
        empty: No document can match.
        descending: The order of the index is turned round.
    """

    collection: Collection
    conditions: list[str] = field(default_factory=list)
    parameters: list[Any] = field(default_factory=list)
    residual: list[tuple[Path, Callable[[Any], bool]]] = field(default_factory=list)
    rules: DocumentRules | None = None
    index: Index | None = None
    empty: bool = False
    descending: bool = False

    @property
    def exact(self) -> bool:
        """Whether the SQL alone decides."""
        return not self.residual and (self.rules is None or self.rules.where is None)

    def matches(self, document: Document) -> bool:
        """Whether a document that the SQL let through equals the filters, and is to be seen."""
        equal = all(equals(lookup(document, path)) for path, equals in self.residual)
        return equal and sees(self.rules, document)

    def add(self, condition: str, *parameters: Any) -> None:
        """Narrow further."""
        self.conditions.append(condition)
        self.parameters.extend(parameters)

    @property
    def where(self) -> str:
        """The conditions as SQL."""
        return " AND ".join(self.conditions) or "1"

    @property
    def source(self) -> str:
        """The table, and the index that it is to be read by."""
        if self.index is None:
            return self.collection.table
        return f"{self.collection.table} INDEXED BY {self.collection.index_name(self.index)}"

    @property
    def page_sql(self) -> str:
        """The next rows behind a key, as `rows.gather` wants them."""
        return gathering(
            f"SELECT key, size, body FROM {self.source}"  # noqa: S608 - numbers and placeholders
            f" WHERE {self.where} AND key > ? ORDER BY key LIMIT ?"
        )

    @property
    def ordered_sql(self) -> str:
        """The bodies, in the order of the index."""
        column = "key" if self.index is None else self.index.column
        way = " DESC" if self.descending else ""
        return f"SELECT body FROM {self.source} WHERE {self.where} ORDER BY {column}{way}"  # noqa: S608 - as above

    @property
    def skip_sql(self) -> str:
        """The last key of those to be passed over."""
        return (
            f"SELECT key FROM {self.source} WHERE {self.where}"  # noqa: S608 - as above
            " ORDER BY key LIMIT 1 OFFSET ?"
        )

    @property
    def count_sql(self) -> str:
        """How many rows the SQL lets through."""
        return f"SELECT count(*) FROM {self.source} WHERE {self.where}"  # noqa: S608 - as above


def make_plan(collection: Collection, filters: Filters, rules: DocumentRules | None = None) -> Plan:
    """Decide how to find the documents that equal `filters`, of those that the rules show."""
    plan = Plan(collection, rules=rules)
    asked = {parse_path(name): value for name, value in filters.items()}
    wanted = asked if rules is None else {**_implied(rules.where), **asked}
    _narrow_by_key(plan, wanted)
    _narrow_by_index(plan, wanted)
    for path, value in wanted.items():
        if path in asked:
            plan.residual.append((path, equal_to(value)))
        fragment = _fragment(path, value)
        if fragment is not None:
            plan.add("instr(body, ?) > 0", fragment)
    return plan


def _implied(where: Condition | None) -> dict[Path, Any]:
    """What a document must equal to meet the condition, which itself decides in the end."""
    if isinstance(where, Comparison) and where.operator == "==":
        return {where.path: where.value}
    if isinstance(where, All):
        parts = map(_implied, where.parts)
        return {path: value for part in parts for path, value in part.items()}
    return {}


def _narrow_by_key(plan: Plan, wanted: dict[Path, Any]) -> None:
    for path, prefix in ((_KEY, ""), (_ID, plan.collection.prefix)):
        if path in wanted:
            value = wanted.pop(path)
            if isinstance(value, str) and value.startswith(prefix) and is_storable(value):
                plan.add("key = ?", value[len(prefix) :])
            else:
                plan.empty = True


def _narrow_by_index(plan: Plan, wanted: dict[Path, Any]) -> None:
    best = max(plan.collection.indexes, key=lambda index: _covered(index, wanted), default=None)
    covered = 0 if best is None else _covered(best, wanted)
    if best is None or not covered or plan.conditions:
        return
    key = b"".join(order_key(wanted[path]) for path in best.paths[:covered])
    if covered == len(best.paths):
        plan.add(f"{best.column} = ?", key)
    else:
        plan.add(f"{best.column} >= ? AND {best.column} < ?", key, key + AFTER_PREFIX)
    plan.index = best
    for path in best.paths[:covered]:
        del wanted[path]


def _covered(index: Index, wanted: dict[Path, Any]) -> int:
    """How many leading fields of the index the filters give; all or none where it is sparse."""
    count = 0
    while count < len(index.paths) and index.paths[count] in wanted:
        count += 1
    if not index.sparse:
        return count
    whole = count == len(index.paths)
    return count if whole and all(wanted[path] is not None for path in index.paths) else 0


def _fragment(path: Path, value: Any) -> str | None:
    """Text that every document which holds `value` at `path` must contain, None if unknown.

    A value has one spelling in stored text, except that a number may be an integer or a double:
    then the integer's digits begin both.
    """
    if value is None or isinstance(value, list | dict):
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value == 0 or abs(value) >= _PLAIN_INTEGERS:
            return None
        value = int(value) if value == int(value) else value
    try:
        text = f"{to_text(path[-1])}:{to_text(value)}"
    except InvalidDocument:
        return None
    return text if is_storable(text) else None


def search(
    connection: sqlite3.Connection,
    plan: Plan,
    *,
    after: str = "",
    chunk: int = CHUNK_DOCUMENTS,
    check: Callable[[], None],
) -> Iterator[Row]:
    """Every matching row behind the key `after`, in the order of keys; within a transaction.

    Args:
        check: Called before every row and every step; raises when it is time to stop.
    """
    if plan.empty:
        return
    sql, exact = plan.page_sql, plan.exact
    while True:
        check()
        rows = gather(connection, sql, (*plan.parameters, after, chunk))
        for row in rows:
            check()
            if exact or plan.matches(row.read(connection, plan.collection)):
                yield row
        if len(rows) < chunk:
            return
        after = rows[-1].key
        chunk = CHUNK_DOCUMENTS
