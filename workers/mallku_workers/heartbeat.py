"""Tells whoever started this worker that it lives, and notices when nobody listens any more.

Lines over an inherited pipe: `ready INSTANCE [HTTP ADDRESS]` once, `beat` every second, `draining`
at the end.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

BEAT_S: Final = 1.0
"""Between two beats, seconds; a supervisor gives up after five of silence."""


class Heartbeat:
    """Beats from the event loop, so that a loop that hangs is silent.

    Args:
        descriptor: The pipe's end for writing; None writes nothing.
        orphaned: Called when nobody reads any more: the parent is gone.
    """

    def __init__(self, descriptor: int | None, orphaned: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._orphaned = orphaned
        if descriptor is not None:
            os.set_blocking(descriptor, False)
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - positional only

    def say(self, line: str) -> None:
        """Write one line; a full pipe is skipped, a broken one calls `orphaned`."""
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, f"{line}\n".encode())
        except BlockingIOError:
            return
        except OSError:
            self._descriptor = None
            self._orphaned()

    async def beat(self) -> None:
        """Beat until cancelled."""
        while True:
            self.say("beat")
            await asyncio.sleep(BEAT_S)
