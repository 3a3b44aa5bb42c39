"""One run of `doctor`: examine, with a bar for whoever waits, and put together what was found."""

from __future__ import annotations

import secrets
from contextlib import aclosing
from typing import Final

from rich.progress import BarColumn, Progress, TextColumn

from mallku_deploy.doctor.attempts import Finding
from mallku_deploy.doctor.checkup import examine
from mallku_deploy.doctor.known import every_widening
from mallku_deploy.doctor.report import Report
from mallku_deploy.doctor.roles import Examined
from mallku_deploy.terminal import err

_MARK_BYTES: Final = 4


async def run(examined: Examined) -> Report:
    """Try everything with everybody; what cannot be tried is a finding too.

    Raises:
        GatewayUnreachable: nobody answers there.
    """
    mark = f"doctor-{secrets.token_hex(_MARK_BYTES)}"
    findings: list[Finding] = []
    columns = (TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("", total=len(examined.roles) + len(examined.missing))
        async with aclosing(examine(examined, mark)) as found:
            async for finding in found:
                findings.append(finding)
                who = {(each.kind, each.name) for each in findings}
                what = f"{finding.name}: {finding.title}"[:40].ljust(40)
                progress.update(task, completed=len(who) - 1, description=what)
    widenings = tuple(every_widening(examined.policy))
    return Report(examined.url, examined.policy.version, mark, tuple(findings), widenings)
