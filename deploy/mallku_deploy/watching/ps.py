"""`ps`: who the workers are and how they do, live."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time

from rich.live import Live

from mallku_client.settings import ClientSettings
from mallku_deploy.terminal import REFUSED, out
from mallku_deploy.watching.finding import Finder, open_finder
from mallku_deploy.watching.table import Glance, draw


async def ps(
    settings: ClientSettings, *, every_s: float, once: bool, as_json: bool, expected: int = 0
) -> int:
    """Show workers until interrupted, or once; the exit code is 1 when none answers.

    Args:
        every_s: Between two looks, seconds.
        expected: How many there should be; 0 for nobody knows.

    Raises:
        ConfigurationError, GatewayUnreachable: as `open_finder`.
    """
    async with open_finder(settings) as finder:
        if as_json:
            return await _lines(finder, every_s, once=once)
        first = await _glance(finder)
        await asyncio.sleep(every_s)
        second = await _glance(finder)
        if once or not out.is_terminal:
            out.print(draw(second, first, expected=expected))
            return 0 if second.sightings else REFUSED
        with contextlib.suppress(asyncio.CancelledError):  # Ctrl-C is how one stops looking
            await _live(finder, first, second, every_s, expected)
    return 0


async def _glance(finder: Finder) -> Glance:
    return Glance(time.monotonic(), tuple(await finder.look()))


async def _live(finder: Finder, former: Glance, now: Glance, every_s: float, expected: int) -> None:
    with Live(draw(now, former, expected=expected), console=out, auto_refresh=False) as live:
        while True:
            await asyncio.sleep(every_s)
            former, now = now, await _glance(finder)
            live.update(draw(now, former, expected=expected), refresh=True)


async def _lines(finder: Finder, every_s: float, *, once: bool) -> int:
    """One line of JSON for each worker, again and again."""
    while True:
        sightings = await finder.look()
        for one in sightings:
            out.out(json.dumps(one.to_json()), highlight=False)
        if once:
            return 0 if sightings else REFUSED
        await asyncio.sleep(every_s)
