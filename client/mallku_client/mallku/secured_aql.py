"""Queries of Mallku's, in which the fields of secured collections go by their semantic names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from mallku_client.mallku.following import SecuredNames
from mallku_client.mallku.plain import PlainAQL
from mallku_client.mallku.queries import secure_query
from mallku_client.mallku.registry import SecurityRegistry
from mallku_client.mallku.rows import Rows
from mallku_client.mallku.values import plain


class Interface(Protocol):
    """What knows which collections are secured, and how their fields are called."""

    def count_operation(self) -> None:
        """Count a query."""
        ...

    def secured_names(self) -> SecuredNames:
        """Which collections are secured, and how their fields are called."""
        ...

    async def semantic_rows(self, rows: list[Any]) -> list[Any]:
        """Fetched rows with semantic names."""
        ...


class SecuredAQL:
    """Queries in which the fields of secured collections go by their semantic names."""

    def __init__(self, aql: PlainAQL, interface: Interface) -> None:
        self._aql = aql
        self._interface = interface

    def execute(
        self, query: str, bind_vars: Mapping[str, Any] | None = None, **options: Any
    ) -> Rows:
        """As `PlainAQL.execute`; rows of secured collections have semantic names.

        Raises:
            InvalidQuery: names cannot follow the query; says where and why. Nothing is sent.
        """
        self._interface.count_operation()
        values = plain(dict(bind_vars or {}), "bind_vars")
        secured = secure_query(query, values, self._interface.secured_names())
        if secured is None:
            return self._aql.execute(query, values, **options)
        reading = self._interface.semantic_rows
        return self._aql.execute(secured.text, secured.binds, reading=reading, **options)


def semantic_row(registry: SecurityRegistry, row: Any) -> Any:
    """A row with semantic names; a whole document loses what the store put into it."""
    if isinstance(row, dict) and {"_id", "_key", "_rev"} <= row.keys():
        row = {name: value for name, value in row.items() if not name.startswith("_")}
    return registry.semantic(row)


def filter_query(
    collection: str, filters: Mapping[str, Any], limit: int | None
) -> tuple[str, dict[str, Any]]:
    """A query for the documents that equal filters; dots in their names are between levels."""
    values: dict[str, Any] = {"@collection": collection}
    conditions: list[str] = []
    for place, (name, value) in enumerate(filters.items()):
        path = "".join(f"[@name{place}_{n}]" for n, _ in enumerate(name.split(".")))
        conditions.append(f"FILTER doc{path} == @value{place}")
        values |= {f"name{place}_{n}": step for n, step in enumerate(name.split("."))}
        values[f"value{place}"] = value
    if limit is not None:
        values["limit"] = limit
    end = "" if limit is None else "LIMIT @limit"
    return " ".join(["FOR doc IN @@collection", *conditions, end, "RETURN doc"]), values
