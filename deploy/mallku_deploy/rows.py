"""Rows of a query as they are shown: a line of JSON each, pages of a table, or indented JSON."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from rich.highlighter import JSONHighlighter
from rich.table import Table
from rich.text import Text

from mallku_deploy.terminal import out

MAX_TABLE_COLUMNS: Final = 8
"""Columns of a table that nobody asked for; wider rows are shown as indented JSON."""

VALUE: Final = "value"
"""The heading above rows that are no maps."""

ShowRows = Callable[[Sequence[Any]], None]
"""Shows the rows of one page."""

_UNPRINTABLE: Final = re.compile(r"[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def rows_shower(*, as_json: bool, as_table: bool) -> ShowRows:
    """How to show rows: as asked, else lines of JSON for programs and what fits for people."""
    if as_table:
        return show_table
    if as_json or not out.is_terminal:
        return show_lines
    return show_fitting


def show_lines(rows: Sequence[Any]) -> None:
    """One row, one line of JSON; the page has left this process when this returns."""
    for row in rows:
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def show_fitting(rows: Sequence[Any]) -> None:
    """A table where rows are maps of few fields, else indented JSON."""
    if all(isinstance(row, dict) for row in rows) and len(_columns(rows)) <= MAX_TABLE_COLUMNS:
        show_table(rows)
        return
    for row in rows:
        text = escaped(json.dumps(row, ensure_ascii=False, indent=2))
        out.print(JSONHighlighter()(text), soft_wrap=True)


def show_table(rows: Sequence[Any]) -> None:
    """One page as a table; what does not fit a cell is cut with an ellipsis."""
    if not rows:
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    columns = _columns(rows)
    for name in columns:
        numbers = all(_is_number(_field(row, name)) for row in rows)
        table.add_column(
            _cell(name),
            justify="right" if numbers else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in rows:
        table.add_row(*(_cell(_field(row, name)) for name in columns))
    out.print(table)


def _columns(rows: Sequence[Any]) -> list[str]:
    """The fields of all rows in the order in which they come, `_key` before the others."""
    names = dict.fromkeys(
        name for row in rows for name in (row if isinstance(row, dict) else (VALUE,))
    )
    return sorted(names, key=lambda name: name != "_key")


def _field(row: Any, name: str) -> Any:
    if isinstance(row, dict):
        return row.get(name)
    return row if name == VALUE else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> Text:
    text = json.dumps(value, ensure_ascii=False)
    if value is None:
        return Text(text, style="dim")
    return Text(escaped(text[1:-1] if isinstance(value, str) else text))


def escaped(text: str) -> str:
    """Text of documents that a terminal takes for text, whatever is in it."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
