"""Lines of the trail on a terminal: fixed columns, so that they can be printed as they come."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from mallku_contracts.governed import GATEWAY
from mallku_deploy.auditing.lines import Line

MIN_WIDTH: Final = 80
"""A narrower terminal breaks lines."""

_TIME, _PRINCIPAL, _OPERATION, _TOOK, _OUTCOME = 8, 8, 11, 7, 22
_GAPS: Final = 5
_LONG: Final = 999.5

_STYLES: Final = {
    "intent": "dim",
    "done": "green",
    "failed": "yellow",
    "denied": "bold red",
    "resolved": "magenta",
}
_SIGNS: Final = {"denied": "✗ ", "failed": "! ", "resolved": "↻ "}


class Table:
    """Formats lines for a width in columns; says the date whenever it changes.

    Times are UTC, and those of the stream.
    """

    def __init__(self, width: int) -> None:
        fixed = _TIME + _PRINCIPAL + _OPERATION + _TOOK + _OUTCOME + _GAPS
        self._target = max(MIN_WIDTH, width) - fixed
        self._date = ""

    def header(self) -> Text:
        """The names of the columns."""
        names = self._columns("TIME UTC", "WHO", "OPERATION", "TARGET", "TOOK")
        return Text(f"{names} OUTCOME", style="bold")

    def format(self, line: Line) -> list[Text]:
        """The line, below the new date where one has begun."""
        moment = datetime.fromtimestamp(line.time / 1_000, UTC)
        date, clock = moment.strftime("%Y-%m-%d %H:%M:%S").split(" ")
        found = [] if date == self._date else [Text(date, style="bold dim")]
        self._date = date
        return [*found, self._row(line, clock)]

    def _row(self, line: Line, clock: str) -> Text:
        row = self._columns(clock, line.principal, line.operation, line.target, took(line.took_us))
        style = "cyan" if line.principal == GATEWAY else ""
        text = Text(row, style="dim" if line.kind == "intent" else style)
        text.stylize("dim", 0, _TIME)
        text.append(" ")
        return text.append(outcome(line), style=_STYLES.get(line.kind, "bold"))

    def _columns(self, clock: str, principal: str, operation: str, target: str, took: str) -> str:
        cells = (
            f"{clock:<{_TIME}}",
            fit(principal, _PRINCIPAL),
            fit(operation, _OPERATION),
            fit(target, self._target),
            f"{took:>{_TOOK}}",
        )
        return " ".join(cells)


def outcome(line: Line) -> str:
    """What became of it: `done`, or a sign and the code, how often, and which door carried it."""
    said = f"{_SIGNS.get(line.kind, '')}{line.detail or line.kind}"
    often = "" if line.count == 1 else f" x{line.count:,}"
    door = fit(line.via, cell_len(line.via))
    return f"{said}{often} via {door}" if line.via else f"{said}{often}"


def took(microseconds: int | None) -> str:
    """A duration in at most seven characters."""
    if microseconds is None:
        return ""
    milliseconds = microseconds / 1_000
    if milliseconds < _LONG:
        return f"{milliseconds:.{_digits(milliseconds)}f} ms"
    seconds = milliseconds / 1_000
    return f"{seconds:.{min(1, _digits(seconds))}f} s"


def _digits(number: float) -> int:
    """Decimals that leave three figures."""
    return max(0, 3 - len(f"{number:.0f}"))


def fit(text: str, width: int) -> str:
    """The text in exactly so many columns; what may break a line or drive a terminal is a dot."""
    plain = "".join(character if character.isprintable() else "·" for character in text)
    if cell_len(plain) <= width:
        return set_cell_size(plain, width)
    return set_cell_size(plain, width - 1) + "…"
