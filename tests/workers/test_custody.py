from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mallku_broker.advisories import ADVISORIES
from mallku_broker.connection_keys import own_key, read_connection_keys, write_connection_keys
from mallku_broker.nkeys import new_nkey
from mallku_broker.streams import AUDIT, POLICY
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.policy import CompiledPolicy, read_policy
from mallku_contracts.subjects import CommandSubject, audit_subject
from mallku_workers.custody import CALL_FACTS, EVENT_FACTS, READ_FACTS, Custodian, Keys

KEY, STRANGE, OWN, OTHER = (new_nkey()[1] for _ in range(4))
AT = "2026-01-01T00:00:00Z"
READ = "mallku.v1.audit._gateway.mallku_audit.@.read.done"
ADVISORY = "mallku.v1.audit._gateway.mallku_audit.@.advisory.done"


class Written:
    """Takes records about the gateway."""

    def __init__(self) -> None:
        self.records: list[tuple[str, dict[str, Any]]] = []

    def administrative(self, subject: CommandSubject, kind: str, **fields: Any) -> None:
        """Take one."""
        self.records.append((audit_subject(subject, kind), fields["facts"]))


def _policy() -> CompiledPolicy:
    text = f"""
version: 1
roles: {{}}
principals:
  auditor: {{kind: auditor, nkey: {KEY}}}
"""
    return CompiledPolicy(read_policy(text))


def _custodian(audit: Written, file: Path | None = None, **limits: int) -> Custodian:
    return Custodian(audit, Keys(_policy, OWN, file), **limits)


def _hear(custodian: Custodian, call: str, key: str, account: str, **more: Any) -> None:
    said = {
        "type": "io.nats.jetstream.advisory.v1.api_audit",
        "id": "a1",
        "timestamp": AT,
        "client": {"acc": account, "user": key},
        "subject": f"$JS.API.{call}",
        "request": json.dumps({"config": {"filter_subject": "f"}}),
        "response": json.dumps(more),
    }
    custodian.hear(f"{ADVISORIES}.API", "", json.dumps(said).encode(), None)


def test_who_reads_the_trail_is_recorded_by_name() -> None:
    """The principal whose nkey it is; what it reads, and by which consumer."""
    audit = Written()
    _hear(_custodian(audit), f"CONSUMER.CREATE.{AUDIT}.c1", KEY, "AUDITORS")
    (record,) = audit.records
    values = (AUDIT, "c1", ["f"], "a1", AT, "auditor", KEY, "AUDITORS")
    assert record == (READ, dict(zip(READ_FACTS, values, strict=True)))


def test_a_reader_that_no_policy_names_is_recorded_by_its_key() -> None:
    """Whom the policy forgot is connected still, and reads."""
    audit = Written()
    _hear(_custodian(audit), f"CONSUMER.CREATE.{AUDIT}.c1", STRANGE, "AUDITORS")
    assert [(facts["by"], facts["key"]) for _, facts in audit.records] == [("", STRANGE)]


def test_workers_reading_their_own_trail_are_not_recorded(tmp_path: Path) -> None:
    """The worker itself, and those that the file lists; who is merely unknown is recorded."""
    audit, file = Written(), tmp_path / "nkeys.json"
    custodian = _custodian(audit, file)
    with capture_logs() as logs:
        _hear(custodian, f"CONSUMER.CREATE.{AUDIT}.c1", OWN, "RECORDS")
        assert audit.records == []
        _hear(custodian, f"CONSUMER.CREATE.{AUDIT}.c1", OTHER, "RECORDS")
    assert {log["event"] for log in logs} == {"connection_keys_not_read"}
    assert [facts["key"] for _, facts in audit.records] == [OTHER]
    write_connection_keys(file, {"administrator": STRANGE}, {"worker-2": OTHER})
    for key in (OTHER, STRANGE):
        _hear(custodian, f"CONSUMER.CREATE.{AUDIT}.c1", key, "RECORDS")
    assert [facts["by"] for _, facts in audit.records] == ["", "administrator"]
    write_connection_keys(file, {"other": OTHER}, {})
    _hear(custodian, f"CONSUMER.CREATE.{AUDIT}.c1", OTHER, "RECORDS")
    assert [facts["by"] for _, facts in audit.records] == ["", "administrator", "other"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"principals": {"a": 1}, "workers": {}}'])
def test_a_file_of_keys_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    """By name, with what was expected."""
    file = tmp_path / "nkeys.json"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="expected"):
        read_connection_keys(file)


@pytest.mark.parametrize(
    "text", ["{}\n", "-----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n"]
)
def test_a_worker_knows_its_own_key(tmp_path: Path, text: str) -> None:
    """Whether its file holds a seed alone or NATS credentials."""
    seed, public = new_nkey()
    file = tmp_path / "records.nk"
    file.write_text(text.format(seed))
    assert own_key(file) == public
    file.write_text("nothing")
    with pytest.raises(ConfigurationError, match="seed"):
        own_key(file)


@pytest.mark.parametrize(("error", "refused"), [({}, 0), ({"error": {"err_code": 10052}}, 10052)])
@pytest.mark.parametrize("stream", [AUDIT, f"KV_{POLICY}"])
def test_who_changes_a_stream_is_recorded_and_an_alarm(
    error: dict[str, Any], refused: int, stream: str
) -> None:
    """Whoever it is, a worker's key too, whichever stream, and whether it succeeded or not."""
    audit = Written()
    with capture_logs() as logs:
        _hear(_custodian(audit), f"STREAM.UPDATE.{stream}", STRANGE, "RECORDS", **error)
    values = ("STREAM.UPDATE", stream, "a1", AT, "", STRANGE, "RECORDS", refused)
    facts = dict(zip(CALL_FACTS, values, strict=True))
    assert audit.records == [(ADVISORY, facts)]
    assert logs == [{"event": "stream_changed", "log_level": "warning", "facts": facts}]


@pytest.mark.parametrize("event", ["DELETED", "UPDATED", "SNAPSHOT_CREATE", "LEADER_ELECTED"])
def test_what_happened_to_the_stream_is_recorded(event: str) -> None:
    """Whoever brought it about; an alarm, but where it is the server's daily business."""
    audit = Written()
    said = {
        "type": "io.nats.jetstream.advisory.v1.stream_action",
        "id": "e1",
        "timestamp": AT,
        "stream": AUDIT,
    }
    with capture_logs() as logs:
        subject = f"{ADVISORIES}.STREAM.{event}.{AUDIT}"
        _custodian(audit).hear(subject, "", json.dumps(said).encode(), None)
    facts = dict(zip(EVENT_FACTS, (event.lower(), AUDIT, "e1", AT), strict=True))
    assert audit.records == [(ADVISORY, facts)]
    assert [log["event"] for log in logs] == ["stream_advisory"] * (event != "LEADER_ELECTED")


def test_nobody_fills_the_trail_by_reading_it() -> None:
    """Beyond so many in a minute readers are counted, each apart; another's reading is not lost."""
    audit = Written()
    custodian = _custodian(audit, per_minute=3)
    for _ in range(10):
        _hear(custodian, f"CONSUMER.CREATE.{AUDIT}.c1", KEY, "AUDITORS")
    _hear(custodian, f"CONSUMER.CREATE.{AUDIT}.c1", STRANGE, "AUDITORS")
    assert [facts["by"] for _, facts in audit.records] == ["auditor"] * 3 + [""]
    custodian.sum_up()
    assert audit.records[4:] == [(READ, {"summed_up": "auditor", "count": 7})]
    custodian.sum_up()
    assert len(audit.records) == 5


def test_a_flood_of_changes_is_counted_and_each_is_an_alarm() -> None:
    """The log keeps them all; the trail keeps the first ones, and how many there were."""
    audit = Written()
    custodian = _custodian(audit, per_minute=2)
    with capture_logs() as logs:
        for _ in range(5):
            _hear(custodian, f"STREAM.UPDATE.{AUDIT}", KEY, "RECORDS")
    custodian.sum_up()
    assert len(logs) == 5
    assert len(audit.records) == 3
    assert audit.records[2] == (ADVISORY, {"summed_up": "auditor STREAM.UPDATE", "count": 3})


def test_what_is_no_advisory_leaves_no_trace() -> None:
    """Junk on the subject neither raises nor is recorded."""
    audit = Written()
    for body in (b"", b"\xff", b"{}", b"[]"):
        _custodian(audit).hear(f"{ADVISORIES}.API", "", body, None)
    assert audit.records == []
