"""`audit rebuild`: a database made again of the trail alone, and held against another one."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from mallku_client.settings import ClientSettings
from mallku_deploy.auditing.auditor import open_trail
from mallku_deploy.auditing.exported import ExportedTrail
from mallku_deploy.auditing.rebuild_order import Order
from mallku_deploy.auditing.rebuild_report import show_report
from mallku_deploy.auditing.rebuild_run import Trail, make_again
from mallku_deploy.copying import Bars
from mallku_deploy.terminal import REFUSED, say_aside


async def rebuild(source: ClientSettings | Path, order: Order, *, compact: bool) -> int:
    """Read, put, compare, and say what came of it; the exit code.

    Args:
        source: An auditor of the trail itself, or the folder of an export.

    Raises:
        MallkuError: as `make_again`.
    """
    async with AsyncExitStack() as stack:
        trail: Trail
        if isinstance(source, Path):
            trail = ExportedTrail(source)
        else:
            trail = await stack.enter_async_context(await open_trail(source))
        with Bars() as bars:
            report = await make_again(trail, order, bars)
    show_report(report.rebuilt, report.compared, compact=compact)
    if report.good:
        return 0
    say_aside(f"what was understood of the trail stays in {report.path}")
    return REFUSED
