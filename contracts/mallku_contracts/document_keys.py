"""The grammar of document keys (ArangoDB manual, "Document Keys")."""

from __future__ import annotations

import re
from typing import Final

from mallku_contracts.errors import InvalidKey
from mallku_contracts.limits import MAX_KEY_BYTES

KEY_PATTERN: Final = rf"[A-Za-z0-9_\-:.@()+,=;$!*'%]{{1,{MAX_KEY_BYTES}}}"
"""What a key is made of, as a regular expression."""

_KEY: Final = re.compile(KEY_PATTERN)


def is_key(key: object) -> bool:
    """Whether `key` may be a document's `_key`."""
    return isinstance(key, str) and _KEY.fullmatch(key) is not None


def check_key(key: object) -> str:
    """The key itself.

    Raises:
        InvalidKey: where it does not follow the grammar; `details["_key"]` repeats it.
    """
    if not is_key(key):
        raise InvalidKey(
            f"_key: {key!r:.120} is not a document key; use 1 to {MAX_KEY_BYTES} of "
            "A-Z a-z 0-9 _ - : . @ ( ) + , = ; $ ! * ' %",
            details={"_key": str(key)[:256]},
        )
    return str(key)
