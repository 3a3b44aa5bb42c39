"""The tables of doctor as values, and what is shown of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mallku_broker.accounts import (
    Permissions,
)
from mallku_broker.permissions import (
    Widening,
    principal_permissions,
    worker_bus,
    worker_records,
)
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.policy import read_policy
from mallku_deploy.cli import app
from mallku_deploy.doctor.attempts import Attempt, Finding, Kind, Publish, Verdict
from mallku_deploy.doctor.diversions import diversions
from mallku_deploy.doctor.known import every_widening
from mallku_deploy.doctor.lists import MAX_OTHERS, Grounds, probes
from mallku_deploy.doctor.report import Report, show_report
from mallku_deploy.doctor.roles import Given, examine_given, read_given
from mallku_deploy.terminal import out
from tests.support.nats import POLICY

MARK = "doctor-00ff00ff"
GROUNDS = Grounds(read_policy(POLICY), MARK)
ROLES = [
    *((Kind(entry.kind), name) for name, entry in GROUNDS.policy.principals.items()),
    (Kind.BUS, "worker:bus"),
    (Kind.RECORDS, "worker:records"),
]
FINDING = Finding(
    Kind.CALLER,
    "mallku",
    "hear another's replies",
    (f"_INBOX_mallku.mallory.{MARK}.1",),
    "refused",
    "refused",
    Verdict.PROVEN,
    "",
)


def _permissions(kind: Kind, name: str) -> Permissions:
    if kind is Kind.BUS:
        return worker_bus()
    return (
        worker_records() if kind is Kind.RECORDS else principal_permissions(GROUNDS.policy, name)[0]
    )


def _covers(pattern: str, subject: str) -> bool:
    tokens, wanted = pattern.split("."), subject.split(".")
    for place, token in enumerate(tokens):
        if token == ">":
            return len(wanted) > place
        if place >= len(wanted) or token not in {"*", wanted[place]}:
            return False
    return len(tokens) == len(wanted)


def _allowed(attempt: Attempt, permissions: Permissions) -> bool:
    if isinstance(attempt, Publish):
        return any(_covers(each, attempt.subject) for each in permissions.publish)
    wanted = attempt.queue
    denied = "> >" in permissions.deny_subscribe and wanted
    return not denied and any(
        _covers(subject, attempt.subject) and (not queue or queue == wanted)
        for subject, _, queue in (each.partition(" ") for each in permissions.subscribe)
    )


@pytest.mark.parametrize(("kind", "name"), ROLES)
def test_no_role_is_asked_to_fail_at_its_own_work(kind: Kind, name: str) -> None:
    """What the compiled lists allow is in no probe, but for what is said to be accepted."""
    permissions = _permissions(kind, name)
    for probe in probes(kind, name, GROUNDS):
        allowed = [each for each in probe.attempts if _allowed(each, permissions)]
        assert bool(allowed) is bool(probe.accepted), (probe.title, allowed)


@pytest.mark.parametrize(("kind", "name"), ROLES)
def test_every_role_is_asked_for_the_whole_negative_list(kind: Kind, name: str) -> None:
    """Commands of others, inboxes, work, records, the API and the end of a stream: for everybody.

    Who may write records, or settings, is not asked about these.
    """
    titles = {probe.title for probe in probes(kind, name, GROUNDS)}
    wanted = {
        "command as another",
        "submit a job as another",
        "hear everybody's replies",
        "take work from workers",
        "hear records and settings",
        "delete or purge a stream",
        "change or copy a stream",
        "speak in the server's place",
        "hear what it says of the trail",
    }
    assert wanted <= titles
    assert ("write audit records" in titles) is (kind is not Kind.RECORDS)
    assert ("hear another's replies" in titles) is (kind is not Kind.INSPECTOR)
    assert any(title.startswith("write policy") for title in titles) is (
        kind is not Kind.ADMINISTRATOR
    )


def test_a_name_is_tried_with_what_its_own_and_the_others_policy_give() -> None:
    """The principal alone differs, or the whole subject is another's: both would be a hole."""
    (probe,) = (
        each
        for each in probes(Kind.CALLER, "mallory", GROUNDS)
        if each.title == "command as another"
    )
    tried = {str(each) for each in probe.attempts}
    assert "mallku.v1.cmd.mallku.mallku.memory_anchors.get" in tried
    assert f"mallku.v1.cmd.mallku.{MARK}.{MARK}.count" in tried


def test_what_a_policy_lacks_is_everything_else() -> None:
    """One collection and one operation: every other operation, and that one elsewhere."""
    (probe,) = (
        each
        for each in probes(Kind.CALLER, "mallory", GROUNDS)
        if each.title == "do what its policy lacks"
    )
    tried = {str(each) for each in probe.attempts}
    assert f"mallku.v1.cmd.mallory.mallku.{MARK}.get" in tried
    assert f"mallku.v1.cmd.mallory.{MARK}.memory_anchors.get" in tried
    assert f"mallku.v1.cmd.mallory.{MARK}.{MARK}.truncate" in tried
    assert f"mallku.v1.cmd.mallory.{MARK}.@.aql" in tried
    assert "mallku.v1.cmd.mallory.mallku.memory_anchors.get" not in tried


def test_many_principals_are_tried_in_part() -> None:
    """The number of tries does not grow with the square of the policy."""
    names = "".join(f"  service-{number}: {{roles: [service]}}\n" for number in range(60))
    grounds = Grounds(read_policy(POLICY + names), MARK)
    (probe,) = (
        each
        for each in probes(Kind.CALLER, "mallku", grounds)
        if "replies" in each.title[-8:] and "another" in each.title
    )
    assert len(probe.attempts) == MAX_OTHERS


@pytest.mark.parametrize(("kind", "name"), ROLES)
def test_what_could_not_be_taken_back_is_grave(kind: Kind, name: str) -> None:
    """A diversion into the trail is marked, so that it is tried last; no other one is."""
    present = set(GROUNDS.policy.principals)
    for diversion in diversions(kind, name, GROUNDS, present):
        into_trail = any(
            target.subject.startswith(("mallku.v1.audit.", "mallku.v1.checkpoint."))
            for target in diversion.targets
        )
        assert diversion.grave is into_trail
        assert all(MARK in target.subject for target in diversion.targets)


def test_nobody_is_listened_for_without_their_credentials() -> None:
    """Without others present only streams and workers are left as targets."""
    found = diversions(Kind.CALLER, "mallku", GROUNDS, {"mallku"})
    assert [each.title for each in found] == [
        "job answer into a bucket",
        "job answer to a worker",
        "job answer into the trail",
    ]


def _report(*findings: Finding) -> Report:
    return Report(
        "nats://127.0.0.1:4222", 1, MARK, findings, (Widening("mallku", "a.>", "because"),)
    )


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ((Verdict.PROVEN, Verdict.PROVEN), 0),
        ((Verdict.PROVEN, Verdict.WIDER), 0),
        ((Verdict.PROVEN, Verdict.UNTRIED), 2),
        ((Verdict.HOLE, Verdict.UNTRIED), 1),
    ],
)
def test_the_exit_code_says_the_worst(verdicts: tuple[Verdict, ...], code: int) -> None:
    """A hole counts more than what could not be tried; what is wider and known is no hole."""
    found = (replace(FINDING, verdict=verdict) for verdict in verdicts)
    assert _report(*found).exit_code == code


def test_the_table_fits_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """80 columns, every title on one line, made-up names as `?`, and what was let through."""
    monkeypatch.setattr(out, "_width", 80)
    hole = replace(FINDING, verdict=Verdict.HOLE, seen="1 let through", why=f"let through: {MARK}")
    titles = [probe.title for kind, name in ROLES for probe in probes(kind, name, GROUNDS)] + [
        diversion.title
        for kind, name in ROLES
        for diversion in diversions(kind, name, GROUNDS, set(GROUNDS.policy.principals))
    ]
    rows = (replace(FINDING, title=title) for title in dict.fromkeys(titles))
    show_report(_report(hole, *rows), subjects=True, compact=False)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert all(f" {title} " in shown for title in titles)
    assert "let through: ?" in shown
    assert MARK not in shown
    assert "1 HOLE" in shown
    assert "because" in shown


def test_a_healthy_gateway_is_told_in_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a role with its tries, how many places are wider, and the sum; no row of a table."""
    rows = (replace(FINDING, title=f"row {number}") for number in range(40))
    show_report(_report(*rows, replace(FINDING, name="mallory")))
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) < 10
    assert "row 7" not in shown
    assert "because" not in shown
    assert "40 ok" in shown
    assert "in 1 places" in shown
    assert "--verbose" in shown


@pytest.mark.parametrize("verdict", [Verdict.HOLE, Verdict.WIDER, Verdict.UNTRIED])
def test_what_is_not_as_it_should_be_is_told_in_full(
    verdict: Verdict, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whose row it is, its title and why, without being asked for; names that were made up as ?."""
    odd = replace(FINDING, verdict=verdict, title="the odd one", why=f"through: {MARK}")
    show_report(_report(FINDING, odd))
    shown = capsys.readouterr().out
    assert "the odd one: through: ?" in shown
    assert f"mallku  {verdict.value}" in shown
    assert MARK not in shown


def test_json_holds_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """One line, with the real names."""
    show_report(_report(FINDING), subjects=False, compact=True)
    (line,) = capsys.readouterr().out.splitlines()
    said = json.loads(line)
    assert said["findings"][0]["tried"] == [f"_INBOX_mallku.mallory.{MARK}.1"]
    assert said["counts"] == {"ok": 1, "wider": 0, "HOLE": 0, "not tried": 0}
    assert said["wider"] == [{"principal": "mallku", "subject": "a.>", "reason": "because"}]


def test_what_is_wider_is_said_for_everybody_who_has_more_than_a_caller() -> None:
    """Administrators, auditors and workers stand there beside what the policy makes wider."""
    said = {each.principal for each in every_widening(GROUNDS.policy)}
    assert {"mallku", "auditor", "administrator", "worker:bus", "worker:records"} <= said


@pytest.mark.parametrize("word", ["mallku", "=file", "mallku="])
def test_credentials_that_are_none_are_shown(word: str) -> None:
    """NAME=FILE, with both."""
    with pytest.raises(ConfigurationError, match="expected NAME=FILE"):
        read_given([word])


def test_a_name_that_is_nobodys_is_refused(tmp_path: Path) -> None:
    """A typo does not make a role untested in silence."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    where = Given("nats://127.0.0.1:1", tmp_path / "policy.yaml")
    with pytest.raises(ConfigurationError, match="did you mean 'mallory'"):
        examine_given(where, {"malory": tmp_path / "x"})


@pytest.mark.parametrize(
    "arguments",
    [
        ["--url", "nats://127.0.0.1:1"],
        ["--policy", "p.yaml"],
        ["--tls-ca", "ca.pem"],
        ["--data", "d", "--url", "nats://127.0.0.1:1", "--policy", "p.yaml"],
        ["--data", "there-is-none"],
        ["--url", "nats://127.0.0.1:1", "--policy", "there-is-none.yaml"],
    ],
)
def test_what_cannot_be_tried_is_exit_code_2(arguments: list[str]) -> None:
    """Asked wrongly, no house, no policy: nothing was proven, and no traceback."""
    done = CliRunner().invoke(app, ["doctor", *arguments])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
