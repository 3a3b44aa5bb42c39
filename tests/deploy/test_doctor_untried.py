"""Doctor says of whoever it could not try that nothing is proven: that is exit code 2."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mallku_contracts.errors import GatewayUnreachable
from mallku_deploy.doctor.attempts import Verdict
from tests.deploy.examining import doctor, row
from tests.support.nats import ADMINISTRATOR, POLICY, NatsHouse


async def test_who_has_no_credentials_here_is_named(house: NatsHouse) -> None:
    """Exit code 2, and a row for whoever could not be tried, or whom nobody could watch for."""
    report = await doctor(house, without=("mallory", ADMINISTRATOR))
    assert report.exit_code == 2
    assert "--credentials mallory=FILE" in row(report, "mallory", "connects").why
    bucket = row(report, "mallku", "job answer into a bucket")
    assert bucket.verdict is Verdict.UNTRIED
    assert "administrator" in bucket.why


async def test_credentials_of_somebody_else_prove_nothing(house: NatsHouse) -> None:
    """A name with another's file: its own work is refused, which is said."""
    swapped = dict(house.credentials) | {"mallku": house.credentials["inspector"]}
    report = await doctor(replace(house, credentials=swapped))
    found = row(report, "mallku", "does its own work")
    assert found.verdict is Verdict.UNTRIED
    assert "refuses" in found.why


async def test_whoever_is_shut_out_is_said(house: NatsHouse) -> None:
    """A principal whom the server does not let in is not proven harmless: exit code 2."""
    configuration = house.server.configuration
    users = tuple(user for user in configuration.users if user.name != "mallory")
    await house.server.reload(replace(configuration, users=users))
    report = await doctor(house)
    found = row(report, "mallory", "connects")
    assert (found.verdict, report.exit_code) == (Verdict.UNTRIED, 2)
    assert "refuses us" in found.why


@pytest.mark.parametrize(("in_force", "verdict"), [(True, Verdict.PROVEN), (False, Verdict.HOLE)])
async def test_a_revoked_auditor_must_not_connect(
    house: NatsHouse, in_force: bool, verdict: Verdict
) -> None:
    """The broker alone knows auditors: one that the policy revokes has to be shut out."""
    (house.server.directory / "policy.yaml").write_text(POLICY + "revoked: [auditor]\n")
    if in_force:
        configuration = house.server.configuration
        users = tuple(user for user in configuration.users if user.name != "auditor")
        await house.server.reload(replace(configuration, users=users))
    report = await doctor(house)
    assert row(report, "auditor", "connects").verdict is verdict
    assert report.exit_code == (0 if in_force else 1)


async def test_a_server_that_is_away_is_said(house: NatsHouse) -> None:
    """Nothing is tried where nobody answers; what the command makes of it is exit code 2."""
    await house.server.stop()
    with pytest.raises(GatewayUnreachable):
        await doctor(house)


async def test_a_revoked_auditor_with_a_file_that_is_none_proves_nothing(house: NatsHouse) -> None:
    """Who cannot even ask to be let in was not shut out by the broker."""
    (house.server.directory / "policy.yaml").write_text(POLICY + "revoked: [auditor]\n")
    house.credentials["auditor"].write_text("nothing")
    found = row(await doctor(house), "auditor", "connects")
    assert (found.verdict, found.seen) == (Verdict.UNTRIED, "")
