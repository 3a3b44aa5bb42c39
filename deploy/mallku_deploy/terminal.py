"""What the command line shows: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

from mallku_contracts.errors import MallkuError

REFUSED: Final = 1
"""Exit code when a command was refused or failed."""

out: Final = Console(highlight=False)
err: Final = Console(stderr=True, highlight=False)


def show_error(error: MallkuError) -> None:
    """One clear line: code and number, what was wrong, whether and when to try again."""
    theirs = f" (ArangoDB {error.error_code})" if error.error_code is not None else ""
    lines = [f"[bold red]{error.code} {error.number}{theirs}[/]  {escape(error.message)}"]
    if error.retryable:
        after = "" if error.retry_after is None else f" after {error.retry_after:g} s"
        lines.append(f"[dim]trying again{after} makes sense[/]")
    if error.correlation:
        lines.append(f"[dim]the worker's log knows it as {escape(error.correlation)}[/]")
    err.print("\n".join(lines), soft_wrap=True)


def say_aside(what: str) -> None:
    """One dim line beside the results: nothing failed, but somebody may wonder."""
    err.print(f"[dim]{escape(what)}[/]", soft_wrap=True)


def show_json(value: Any, *, compact: bool) -> None:
    """The value as JSON: one line for machines, or indented and coloured on a terminal."""
    text = json.dumps(value, ensure_ascii=False, indent=None if compact else 2, default=_plain)
    if compact or not out.is_terminal:
        out.out(text, highlight=False)
    else:
        out.print_json(text)


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
