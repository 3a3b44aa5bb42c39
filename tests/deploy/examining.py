"""Doctor's examination of a real server, and single rows of what it reports."""

from __future__ import annotations

from mallku_deploy.doctor.attempts import Finding
from mallku_deploy.doctor.report import Report
from mallku_deploy.doctor.roles import Given, examine_given
from mallku_deploy.doctor.run import run
from tests.support.nats import WORKER_BUS, WORKER_RECORDS, NatsHouse

NAMES = {WORKER_BUS: "worker:bus", WORKER_RECORDS: "worker:records"}


async def doctor(house: NatsHouse, *, without: tuple[str, ...] = ()) -> Report:
    """What doctor finds with the credentials of everybody but these."""
    given = {
        NAMES.get(name, name): path
        for name, path in house.credentials.items()
        if name not in without
    }
    where = Given(house.url, house.server.directory / "policy.yaml")
    return await run(examine_given(where, given))


def row(report: Report, name: str, title: str) -> Finding:
    """The one finding of that role and title."""
    found = [each for each in report.findings if (each.name, each.title) == (name, title)]
    assert len(found) == 1, [each.title for each in report.findings if each.name == name]
    return found[0]
