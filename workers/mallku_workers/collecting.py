"""How seldom Python searches a worker for cycles."""

from __future__ import annotations

import asyncio
import gc
from typing import Final

COLLECT_AFTER: Final = (50_000, 20, 50)
"""New containers before a search for cycles, then searches before older ones are searched too."""

COLLECT_EVERY_S: Final = 30.0
"""Between two searches for cycles in a worker that makes few new containers, seconds."""


def spare_the_collector() -> None:
    """Look for cycles seldom, and never among what was there from the start.

    Commands leave no cycles behind; at the default thresholds the search for them took a fifth of
    a busy worker's time. What is freed is taken off the count of new containers, so that a worker
    without cycles never reaches it: what little libraries leave behind is collected by the clock.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


async def collect_by_the_clock() -> None:
    """Search for cycles every `COLLECT_EVERY_S`, until cancelled."""
    while True:
        await asyncio.sleep(COLLECT_EVERY_S)
        gc.collect()
