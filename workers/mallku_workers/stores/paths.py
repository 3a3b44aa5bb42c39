"""Dotted paths to attributes inside documents."""

from __future__ import annotations

from typing import Any

Path = tuple[str, ...]
"""Attribute names from the outside in."""


def parse_path(field: str) -> Path:
    """Attribute names of a dotted path; a dot always separates, there is no escape."""
    return tuple(field.split("."))


def lookup(document: Any, path: Path) -> Any:
    """The value at `path`, None where anything on the way is missing or not an object."""
    for name in path:
        if type(document) is not dict:
            return None
        document = document.get(name)
    return document
