"""Where in a text something is wrong, shown as compilers do: the line, and a caret under it."""

from __future__ import annotations

from typing import Final

MARGIN_CHARS: Final = 12
"""What stays visible behind the place when a line is too long to be shown whole, characters."""

_CUT: Final = "…"


def point_at(text: str, line: int, column: int, width: int = 80) -> str:
    """Two lines: the one that is meant, with its number, and a caret under the column.

    Args:
        line, column: From 1; a place behind the text's end is shown at its end.
        width: Columns that there are; of a longer line the part around the caret is shown.
    """
    lines = text.splitlines() or [""]
    row = min(max(line, 1), len(lines))
    shown = "".join(
        " " if char.isspace() or not char.isprintable() else char for char in lines[row - 1]
    )
    at = min(max(column, 1) - 1, len(shown))
    gutter = f"{row} | "
    shown, at = _window(shown, at, max(width - len(gutter) - 1, 2 * MARGIN_CHARS))
    return f"{gutter}{shown}\n{' ' * (len(gutter) - 2)}| {' ' * at}^"


def _window(shown: str, at: int, room: int) -> tuple[str, int]:
    """The part of a line around a place, and where in it the place then is."""
    if len(shown) <= room:
        return shown, at
    begin = min(max(at + MARGIN_CHARS - room, 0), len(shown) - room)
    part = shown[begin : begin + room]
    if begin:
        part = _CUT + part[1:]
    if begin + room < len(shown):
        part = part[:-1] + _CUT
    return part, at - begin
