"""The rows of one query, page by page, and what it tells about itself beside the first page."""

from __future__ import annotations

from typing import Any, Final

from mallku_contracts.errors import ResourceLimit, ResultTooLarge
from mallku_workers.stores.base import QueryPage, RunnableQuery, Work, runnable
from mallku_workers.stores.documents import refuse_deep_row
from mallku_workers.stores.embedded.aql.evaluate import Circumstances, Execution
from mallku_workers.stores.embedded.aql.run import weigh
from mallku_workers.stores.embedded.settings import EmbeddedSettings

_END: Final = object()


class Rows:
    """The rows of an execution, page by page.

    Args:
        most: Rows that may come altogether; `ResourceLimit` beyond.
    """

    def __init__(self, execution: Execution, settings: EmbeddedSettings, most: int) -> None:
        self.execution = execution
        self.given = 0
        self._settings = settings
        self._most = most
        self._next: Any = None
        self._rows = execution.rows
        self._started = False

    @property
    def left(self) -> bool:
        """Whether there are rows behind the last page."""
        return self._started and self._next is not _END

    def count(self) -> int:
        """How many rows there are: all are made now, as far as memory allows."""
        memory, made = self.execution.run.memory, []
        for row in self._rows:
            memory.keep(row)
            made.append(row)
        self._rows = iter(made)
        return len(made)

    def page(self, count: int) -> QueryPage:
        """Up to `count` rows, fewer where they would be too large together."""
        if not self._started:
            self._started = True
            self._next = next(self._rows, _END)
        rows: list[Any] = []
        size = 0
        while self._next is not _END and len(rows) < count:
            size += weigh(self._next, self._settings.max_result_bytes)
            if size > self._settings.max_result_bytes:
                if rows:
                    break
                raise ResultTooLarge(
                    f"one row has more than {self._settings.max_result_bytes} bytes"
                )
            refuse_deep_row(self._next)
            rows.append(mended(self._next))
            self._next = next(self._rows, _END)
        self.given += len(rows)
        if self.given > self._most:
            raise ResourceLimit(f"more than the {self._most} rows that you may have")
        return QueryPage(rows, more=self.left)


def first_page(
    query: RunnableQuery, execution: Execution, settings: EmbeddedSettings, size: int
) -> tuple[Rows, dict[str, Any]]:
    """The rows of a query, and its first page with what was asked to be told about it."""
    asked = query.arguments
    rows = Rows(execution, settings, query.max_rows)
    if asked.explain:
        return rows, _answer(execution, QueryPage([], more=False)) | {
            "plan": execution.run.explained
        }
    told: dict[str, Any] = {}
    if asked.count or asked.full_count:
        told["count"] = rows.count()
    page = rows.page(size)
    if asked.full_count:
        full = execution.statistics.full_count
        told["full_count"] = told["count"] if full is None else full
    if asked.profile:
        told["plan"] = execution.run.explained
    return rows, _answer(execution, page) | told


def _answer(execution: Execution, page: QueryPage) -> dict[str, Any]:
    statistics = execution.statistics
    return {
        "result": page.rows,
        "more": page.more,
        "warnings": [{"code": code, "message": text} for code, text in execution.warnings],
        "statistics": {
            "writes_executed": statistics.writes_executed,
            "writes_ignored": statistics.writes_ignored,
            "scanned_full": statistics.scanned_full,
            "scanned_index": statistics.scanned_index,
            "filtered": statistics.filtered,
            "peak_memory": execution.run.memory.peak,
        },
    }


def circumstances(work: Work, settings: EmbeddedSettings, now_ms: int) -> Circumstances:
    """Under what the query of a work runs."""
    query = runnable(work)
    return Circumstances(
        now_ms=now_ms,
        memory_bytes=settings.query_memory_bytes,
        full_count=query.arguments.full_count,
        fail_on_warning=query.arguments.fail_on_warning,
        database=work.database,
        may_read=query.may_read,
    )


def mended(value: Any) -> Any:
    """The value as it can be sent: half of a character, left where one was cut, is a mark."""
    if type(value) is str:
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if type(value) is list:
        return [mended(item) for item in value]
    if type(value) is dict:
        return {mended(name): mended(item) for name, item in value.items()}
    return value
