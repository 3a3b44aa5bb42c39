"""Being asked to stop while something runs that cleans up behind itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, Final

from mallku_deploy.terminal import err

INTERRUPTED: Final = 130
"""Exit code of what was stopped by Ctrl-C, as shells have it (128 + SIGINT)."""

ASKING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that ask to stop."""


async def interruptible(work: Coroutine[Any, Any, int]) -> int:
    """The exit code of `work`, or `INTERRUPTED` after a signal cancelled it and it cleaned up."""
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in ASKING:
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        err.print("[dim]stopped before the end[/]")
        return INTERRUPTED
