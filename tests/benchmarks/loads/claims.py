"""What each mutation of a gateway claims in the ledger, for loads that ask a store itself."""

from __future__ import annotations

import hashlib
import secrets
from itertools import count
from typing import Final

from mallku_workers.stores.base import LedgerClaim

REMEMBERED_MS: Final = 900_000


class Claims:
    """Makes claims, none of which was made before."""

    def __init__(self) -> None:
        self._run, self._numbers = secrets.token_hex(8), count()

    def next(self, now_ms: int) -> LedgerClaim:
        """One more, at this Unix time."""
        name = f"{self._run}-{next(self._numbers)}"
        digest = hashlib.sha256(name.encode())
        return LedgerClaim(digest.hexdigest(), digest.digest(), name, now_ms + REMEMBERED_MS)
