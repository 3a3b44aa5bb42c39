"""Values of the wire as JSON: the same, but for bytes, which are hexadecimal text."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse


class Values(JSONResponse):
    """An answer whose content came over the wire; a receipt's hash is the only bytes there."""

    def render(self, content: Any) -> bytes:
        """The content, UTF-8."""
        return encode(content)


def encode(value: Any) -> bytes:
    """One value as JSON; `TypeError` for what the wire does not know."""
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_as_text
    )
    return text.encode()


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"not a value of the wire: {type(value).__name__}")
