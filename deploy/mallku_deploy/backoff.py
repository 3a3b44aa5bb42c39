"""How long to wait before something that failed is tried again."""

from __future__ import annotations

import random
from typing import Final

FIRST_DELAY_S: Final = 0.2
"""After the first failure, seconds."""

MAX_DELAY_S: Final = 10.0
"""However often it failed, seconds."""

HEALTHY_S: Final = 30.0
"""What lived this long has not failed in a row, seconds."""

_MAX_DOUBLINGS: Final = 16


def delay_s(failures: int, chance: float | None = None) -> float:
    """Seconds to wait after `failures` failures in a row (1 and up).

    Doubles each time up to `MAX_DELAY_S`, and is spread over its upper half, so that many do not
    come back at the same moment; `chance` (0 to 1) places it there.
    """
    share = random.random() if chance is None else chance  # noqa: S311 - jitter, not a secret
    doublings = min(max(failures, 1) - 1, _MAX_DOUBLINGS)
    whole = min(MAX_DELAY_S, FIRST_DELAY_S * 2.0**doublings)
    return whole * (0.5 + share / 2)
