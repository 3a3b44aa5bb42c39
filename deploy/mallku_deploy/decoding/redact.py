"""A message's description without anybody's data: names stay, values become their type and size."""

from __future__ import annotations

from typing import Any, Final

_DATA: Final = frozenset({"body", "effects", "content", "begins_with"})
"""Parts of a description that may hold what people stored."""


def redact(description: Any) -> Any:
    """The description with every value below a body, an effect or unknown content replaced."""
    if isinstance(description, dict):
        return {
            name: hide_values(item) if name in _DATA else redact(item)
            for name, item in description.items()
        }
    if isinstance(description, list):
        return [redact(item) for item in description]
    return description


def hide_values(value: Any) -> Any:
    """The value with type and size in the place of everything in it; names stay."""
    if isinstance(value, dict):
        return {name: hide_values(item) for name, item in value.items()}
    if isinstance(value, list):
        return [hide_values(item) for item in value]
    if value is None or isinstance(value, bool):
        return f"<{type(value).__name__}>"
    return f"<{type(value).__name__}, {len(str(value))}>"
