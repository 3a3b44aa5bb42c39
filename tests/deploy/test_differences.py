from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mallku_contracts import codec
from mallku_contracts.audit import Record
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.policy import CompiledPolicy, read_policy
from mallku_deploy import differences
from mallku_deploy.differences import Comparison, compare
from mallku_deploy.governing import find_stretch
from mallku_deploy.locks import shortened
from mallku_deploy.stretch import read_since

NOW = """
version: 1
roles:
  service:
    rules:
      - {id: documents, collections: ["*"], operations: [read, write]}
  admin:
    rules:
      - {id: all, collections: ["*"], operations: [admin]}
principals:
  mallku: {roles: [service, admin]}
  other: {roles: [service], issuers: [one]}
"""
ASKED = Record(
    "intent", "w", 1, 0, "id", "mallku", "mallku.v1.cmd.mallku.db.anchors.insert",
    kid="k", roles=("admin", "service"), issuer="one", policy=1, rule="service/documents",
)  # fmt: skip


def _policy(text: str) -> CompiledPolicy:
    return CompiledPolicy(read_policy(text))


def _compare(candidate: str, *records: Record, now: str = NOW) -> Comparison:
    async def every_one() -> Comparison:
        found = Comparison()
        for record in records:
            await compare(found, record, _policy(now), _policy(candidate))
        return found

    return asyncio.run(every_one())


def _asking(operation: str, body: dict[str, Any], collection: str = "anchors") -> Record:
    """An intent that holds its arguments."""
    subject = f"mallku.v1.cmd.mallku.db.{collection}.{operation}"
    return _changed(subject=subject, command=(b"", codec.pack(body), b"", bytes(32)))


def _changed(**changes: Any) -> Record:
    return replace(ASKED, **changes)


def _listed(found: Comparison) -> dict[tuple[str, ...], int]:
    return {tuple(change): number for change, number in found.changes.items()}


def test_the_same_policy_decides_the_same() -> None:
    """Nothing is listed, everything was decided."""
    found = _compare(NOW, ASKED, ASKED)
    assert not found
    assert (found.decided, found.changes) == (2, {})


def test_what_would_be_refused_is_counted_with_its_rules() -> None:
    """Alike commands are one line: the rule that allows them now, and that none will."""
    found = _compare(NOW.replace("[read, write]", "[read]"), ASKED, _changed(id="2"), ASKED)
    assert found
    change = ("refused", "mallku", "insert", "db/anchors", "service/documents", "no rule")
    assert _listed(found) == {change: 3}


def test_what_would_be_allowed_is_found_among_refusals() -> None:
    """A refusal of the policy's is decided again, with as many commands as it sums up."""
    refused = _changed(
        kind="denied", subject="mallku.v1.cmd.other.db.anchors.truncate", principal="other",
        code="permission_denied", count=7, rule=None,
    )  # fmt: skip
    found = _compare(
        NOW.replace("roles: [service], issuers", "roles: [service, admin], issuers"), refused
    )
    change = ("allowed", "other", "truncate", "db/anchors", "no rule", "admin/all")
    assert _listed(found) == {change: 7}


def test_other_document_rules_are_said_and_are_no_difference() -> None:
    """Whether arguments would pass them is not known here; the exit code does not tell."""
    candidate = NOW.replace(
        "operations: [read, write]", "operations: [read, write], hide: [secret]"
    )
    found = _compare(candidate, ASKED)
    assert not found
    rule = "service/documents"
    assert _listed(found) == {("restricted", "mallku", "insert", "db/anchors", rule, rule): 1}


LEAST = """
version: 2
roles:
  service:
    rules:
      - {id: notes, collections: [notes], operations: [read, write, aql]}
      - {id: documents, collections: ["*"], operations: [read, aql]}
principals:
  mallku: {roles: [service]}
"""
WIDE = NOW.replace("[read, write]", "[read, write, aql, transaction]")
APPROVED = """
queries:
  counted: {text: "FOR d IN vault COLLECT WITH COUNT INTO n RETURN n", roles: [service]}
"""


@pytest.mark.parametrize(
    ("query", "refused"),
    [
        ("FOR d IN anchors RETURN d", ""),
        ("FOR d IN anchors INSERT {a: 1} INTO notes", ""),
        ("FOR d IN anchors INSERT {a: 1} INTO anchors", "db/anchors"),
        ("FOR d IN anchors RETURN DOCUMENT('notes/1')", ""),
    ],
)
def test_a_query_is_decided_by_its_text(query: str, refused: str) -> None:
    """What it reads and changes is held to the candidate's rules, as a worker would."""
    found = _compare(LEAST, _asking("aql", {"query": query}, "@"), now=WIDE)
    assert (found.decided, found.partly) == (1, 0)
    said = [change.then for change in found.changes]
    assert bool(found) is bool(refused), said
    assert all(refused in each for each in said)


def test_an_approval_that_is_taken_back_is_found() -> None:
    """The text was approved for the role, and is a query of one's own under the candidate."""
    now = WIDE.replace(
        'collections: ["*"], operations: [read', "collections: [a], operations: [read"
    )
    asked = _asking("aql", {"query": "FOR d IN vault COLLECT WITH COUNT INTO n RETURN n"}, "@")
    found = _compare(now, asked, now=now + APPROVED)
    (change,) = found.changes
    assert (change.direction, change.operation) == ("refused", "aql")
    assert "vault" in change.then
    assert not _compare(now + APPROVED, asked, now=now + APPROVED)


def test_a_transaction_is_decided_step_by_step() -> None:
    """One step that the candidate does not allow is enough, and it is named."""
    steps: list[dict[str, Any]] = [
        {"operation": "insert", "collection": name, "arguments": {"document": {}}}
        for name in ("notes", "anchors")
    ]
    asked = _asking("transaction", {"steps": steps}, "@")
    candidate = LEAST.replace("[read, write, aql]", "[read, write, aql, transaction]")
    (change,) = _compare(candidate, asked, now=WIDE).changes
    assert change.direction == "refused"
    assert "anchors" in change.then
    assert not _compare(candidate, _asking("transaction", {"steps": steps[:1]}, "@"), now=WIDE)


def test_arguments_that_the_candidates_rules_refuse_are_found() -> None:
    """A filter by a field that would be hidden is newly refused; another filter is not."""
    candidate = NOW.replace("[read, write]}", "[read, write], hide: [secret]}")
    (change,) = _compare(candidate, _asking("find", {"filters": {"secret": 1}})).changes
    assert (change.direction, change.now) == ("refused", "service/documents")
    assert "secret" in change.then
    (change,) = _compare(candidate, _asking("find", {"filters": {"open": 1}})).changes
    assert change.direction == "restricted"


def test_what_is_not_on_the_trail_is_said_and_not_guessed() -> None:
    """A record without its body, or with one that cannot be read, is decided by its subject."""
    hidden = _changed(command=(b"p", b"", b"", bytes(32)))
    broken = _changed(command=(b"p", b"\xc1", b"s", bytes(32)))
    found = _compare(NOW.replace("[read, write]", "[read]"), hidden, broken, ASKED)
    assert (found.decided, found.partly) == (3, 3)
    assert sum(found.changes.values()) == 3


def test_principals_and_issuers_count() -> None:
    """Who is not in the candidate any more, or not by this issuer, would be refused."""
    gone = _compare(NOW.replace("  mallku: {roles: [service, admin]}\n", ""), ASKED)
    assert [change.then for change in gone.changes] == ["no such principal"]
    other = _changed(principal="other", subject="mallku.v1.cmd.other.db.anchors.get")
    candidate = NOW.replace("issuers: [one]", "issuers: [two]")
    (change,) = _compare(candidate, other).changes
    assert change.direction == "refused"
    assert "'one'" in change.then


def test_a_record_without_an_issuer_is_decided_as_if_it_fitted() -> None:
    """Records of before do not say who issued the token."""
    other = _changed(principal="other", subject="mallku.v1.cmd.other.db.anchors.get", issuer="")
    assert not _compare(NOW.replace("issuers: [one]", "issuers: [two]"), other).changes


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "done"},
        {"kind": "failed"},
        {"kind": "denied", "code": "rate_limited"},
        {"kind": "denied", "code": "stale_command"},
    ],
)
def test_a_command_is_counted_once(changes: dict[str, Any]) -> None:
    """Outcomes and refusals for other reasons are no commands of their own."""
    found = _compare(NOW.replace("[read, write]", "[read]"), _changed(**changes))
    assert (found.decided, found.undecided) == (0, 0)


def test_what_does_not_say_enough_is_not_guessed() -> None:
    """Without a subject, an operation or an identity there is nothing to decide by."""
    odd = [
        _changed(subject="nonsense"),
        _changed(subject="mallku.v1.cmd.mallku.db.anchors.dance"),
        _changed(kid=""),
    ]
    found = _compare(NOW, *odd)
    assert (found.decided, found.undecided) == (0, 3)


def test_many_different_changes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest are counted together, and still make a difference."""
    monkeypatch.setattr(differences, "MAX_CHANGES", 2)
    records = [_changed(subject=f"mallku.v1.cmd.mallku.db.c{n}.insert") for n in range(5)]
    found = _compare(NOW.replace("[read, write]", "[read]"), *records, records[0])
    assert (len(found.changes), found.others, found.decided) == (2, 3, 6)
    assert found


def test_since_is_a_time_or_how_long_ago() -> None:
    """Both forms that people write, and an error for all others."""
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    for text, ago in (("90s", 90), ("15m", 900), ("2h", 7_200), ("7d", 604_800)):
        assert read_since(text, now) == now - timedelta(seconds=ago)
    assert read_since("2026-01-31T13:00:00+01:00", now) == now
    for text in ("", "yesterday", "5", "-5s", "9" * 40 + "d"):
        with pytest.raises(ConfigurationError, match="neither a time"):
            read_since(text, now)


def test_a_stretch_begins_in_one_place() -> None:
    """A time and a number of records contradict each other."""
    with pytest.raises(ConfigurationError, match="one of them"):
        find_stretch("1h", 5)
    assert find_stretch(None, 5).last == 5


def test_subjects_are_shown_in_few_words() -> None:
    """What differs in one token shares a line; queues stay apart; nothing is lost or invented."""
    subjects = ["a.x.1", "a.y.1", "a.x.2", "a.y.2", "b.z", "q.1 one", "q.2 one", "q.1 two"]
    assert shortened(subjects) == ["a.{x,y}.{1,2}", "b.z", "q.{1,2} (queue one)", "q.1 (queue two)"]
    assert shortened([]) == []
    assert shortened(["a.x.1", "a.y.2"]) == ["a.x.1", "a.y.2"]
