"""What a token says of itself, believed by nobody: for those who hold, show or renew one.

Whoever has to believe a token uses `mallku_contracts.tokens`.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from mallku_contracts.errors import InvalidToken


def read_unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims as they stand there, unproven.

    Raises:
        InvalidToken: it is not a JWT in compact form; the message holds nothing of it.
    """
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004  # RFC 7515: header, payload, signature
        raise InvalidToken("this is not a token in compact form")
    return _part(parts[0]), _part(parts[1])


def _part(text: str) -> dict[str, Any]:
    try:
        value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, RecursionError):
        raise InvalidToken("the token is not a JWT: a part of it is not JSON") from None
    if not isinstance(value, dict):
        raise InvalidToken("the token is not a JWT: a part of it is not a JSON object")
    return value
