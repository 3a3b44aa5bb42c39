"""What stands behind the question mark, as the arguments that it stands for."""

from __future__ import annotations

import json
from typing import Any

from mallku_contracts.errors import InvalidArguments


def read_filters(text: str | None) -> dict[str, Any] | None:
    """Attributes and the values that they equal; `InvalidArguments` when it is no JSON object."""
    if not text:
        return None
    try:
        filters = json.loads(text)
    except (ValueError, RecursionError):
        filters = None
    if not isinstance(filters, dict):
        raise InvalidArguments("filter: expected a JSON object of attributes and values")
    return filters or None


def read_sort(text: str | None) -> list[dict[str, str]] | None:
    """Fields as `find` takes them, out of `-weight,kind`."""
    if not text:
        return None
    fields = [field.strip() for field in text.split(",")]
    return [
        {"sort_by": field[1:], "sort_order": "DESC"}
        if field.startswith("-")
        else {"sort_by": field}
        for field in fields
    ]
