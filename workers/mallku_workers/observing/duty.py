"""Leaves the queue groups while the worker is at fault itself, and joins them again when it is fit.

What is away for everybody, such as the store, is no reason to leave: then each worker answers each
command with the error that says so, and when to come back.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import structlog

from mallku_workers.observing.health import own_fault
from mallku_workers.observing.parts import Parts

DUTY_LOOK_S: Final = 1.0
"""Between two looks whether the worker is at fault, seconds."""

_log = structlog.get_logger("mallku.duty")


class Groups(Protocol):
    """Who takes commands in; a `Dispatcher` does."""

    async def leave(self) -> None:
        """Take no new commands; what has come is finished."""
        ...

    async def join(self) -> None:
        """Take commands again."""
        ...


async def look_once(parts: Parts, groups: Groups) -> None:
    """Leave or join, if there is a reason to."""
    if parts.draining or parts.stage:
        return
    fault = own_fault(parts.signs(), away=parts.away)
    if fault and not parts.away:
        await groups.leave()
        parts.away = True
        _log.error("queue_groups_left", reason=fault)
    elif not fault and parts.away:
        await groups.join()
        parts.away = False
        _log.warning("queue_groups_joined")


async def keep_duty(parts: Parts, groups: Groups, look_s: float = DUTY_LOOK_S) -> None:
    """Look again and again until cancelled."""
    while True:
        await look_once(parts, groups)
        await asyncio.sleep(look_s)
