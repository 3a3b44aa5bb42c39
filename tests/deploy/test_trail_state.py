"""What an auditor remembers, and what else they hold, is read strictly and never goes back."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from mallku_broker.files import write_private_text
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.trail.findings import Kind
from mallku_contracts.trail.statement import Head
from mallku_contracts.trail.stored import TrailEntry
from mallku_deploy.auditing.entries import CHUNK, read_entries
from mallku_deploy.auditing.known import expect_receipts, expect_state, expect_witness
from mallku_deploy.auditing.state import State, load_state, save_state
from tests.support.made_trail import START_MS, STREAM, TRUST, MadeTrail

ONE, TWO = Head(1, bytes(32)), Head(2, bytes([1]) * 32)


@pytest.fixture
def trail() -> MadeTrail:
    """A trail with something of everything that a state holds."""
    made = MadeTrail()
    made.start("w1")
    made.start("w2")
    made.command("w1")
    void = made.intend("w1")
    made.records.pop()
    made.author("w1").void.add(void.number)
    made.checkpoint("w1")
    made.checkpoint("w2")
    made.resolve(made.intend("w1"), "pending")
    _, doubled = made.command("w1")
    made.store(made.records[-1].subject, doubled)
    made.intend("w1")
    return made


def _state(trail: MadeTrail) -> State:
    verifier = trail.verifier_after()
    heads = {worker: trail.head(worker) for worker in trail.authors}
    return State(STREAM, START_MS, len(trail.records), heads, verifier.resume())


def test_a_state_survives_its_file(trail: MadeTrail, tmp_path: Path) -> None:
    """Open intents, pending ones, ended ones, tails, void numbers and heads: all of it."""
    path, state = tmp_path / "trail.state", _state(trail)
    assert state.resume is not None
    assert state.resume.open
    assert state.resume.pending
    assert state.resume.ended
    assert any(point.void for point in state.resume.workers.values())
    assert any(point.copies for point in state.resume.workers.values())
    save_state(path, state)
    assert load_state(path) == state
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_state_of_an_older_version_is_read(trail: MadeTrail, tmp_path: Path) -> None:
    """It has void numbers without their times, and no copies."""
    path, state = tmp_path / "trail.state", _state(trail)
    save_state(path, state)
    document = json.loads(path.read_text())
    for point in document["resume"]["workers"].values():
        point["void"] = [int(number) for number in point["void"]]
        del point["copies"]
    write_private_text(path, json.dumps(document))
    read = load_state(path)
    assert read is not None
    assert read.resume is not None
    assert state.resume is not None
    former, now = state.resume.workers["w1"], read.resume.workers["w1"]
    assert now.void == dict.fromkeys(former.void, former.newest)
    assert now.copies == {}


def test_no_state_yet(tmp_path: Path) -> None:
    """The first verification has nothing to go on from."""
    assert load_state(tmp_path / "trail.state") is None


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"v": 2}', '{"v": 1, "kind": "mallku-trail-state"}', "[" * 100_000],
)
def test_a_file_that_is_no_state(tmp_path: Path, text: str) -> None:
    """It is never overwritten in silence: the error names it and the way out."""
    path = tmp_path / "trail.state"
    write_private_text(path, text)
    with pytest.raises(ConfigurationError, match=r"trail\.state"):
        load_state(path)


def test_a_state_with_another_value_in_it(trail: MadeTrail, tmp_path: Path) -> None:
    """Counts are counts, hashes are hashes."""
    path = tmp_path / "trail.state"
    save_state(path, _state(trail))
    good = json.loads(path.read_text())
    for name, value in (("sequence", -1), ("created", "1"), ("heads", []), ("stream", None)):
        write_private_text(path, json.dumps(good | {name: value}))
        with pytest.raises(ConfigurationError):
            load_state(path)


def test_a_state_that_others_may_write(trail: MadeTrail, tmp_path: Path) -> None:
    """What others may change proves nothing."""
    path = tmp_path / "trail.state"
    save_state(path, _state(trail))
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="others may use it"):
        load_state(path)


def test_what_was_seen_never_goes_back(trail: MadeTrail) -> None:
    """Neither the length nor a head; a finding stops where verifying goes on, not what is known."""
    resume = _state(trail).resume
    former = State(STREAM, START_MS, 10, {"w1": TWO, "w2": ONE}, resume)
    now = State(STREAM, START_MS, 8, {"w1": ONE, "w2": TWO, "w3": ONE})
    after = now.after(former, clean=False)
    assert after == State(STREAM, START_MS, 10, {"w1": TWO, "w2": TWO, "w3": ONE}, resume)
    clean = now.after(former, clean=True)
    assert clean is not None
    assert clean.resume is None


def test_another_stream_changes_nothing(trail: MadeTrail) -> None:
    """A stream that was created at another time is not what is remembered."""
    former = _state(trail)
    assert replace(former, created=START_MS + 1).after(former, clean=True) is None


def test_findings_at_first_sight(trail: MadeTrail) -> None:
    """What was seen is remembered all the same, and everything is read again."""
    after = _state(trail).after(None, clean=False)
    assert after is not None
    assert after.resume is None
    assert after.sequence == len(trail.records)


def test_a_trail_is_held_against_a_state(trail: MadeTrail, tmp_path: Path) -> None:
    """Creation, length and heads."""
    state = State(STREAM, START_MS, 1_000, {"w1": Head(9, bytes(32))})
    verifier = trail.verifier()
    expect_state(verifier, state, tmp_path / "s")
    report = trail.verify(verifier=verifier)
    assert {Kind.RECREATED, Kind.TRUNCATED, Kind.CHECKPOINT_MISSING} <= set(report.findings.counts)


def _witness(trail: MadeTrail, path: Path, *more: str) -> Path:
    lines = [
        json.dumps(
            {
                "v": 1,
                "worker": entry.subject.rpartition(".")[2],
                "number": place,
                "checkpoint": base64.b64encode(entry.data).decode(),
            }
        )
        for place, entry in enumerate(trail.checkpoints, 1)
    ]
    path.write_text("\n".join([*lines, *more]) + "\n")
    return path


def test_a_trail_is_held_against_a_witness(trail: MadeTrail, tmp_path: Path) -> None:
    """The newest checkpoint of each worker has to be there."""
    trail.checkpoint("w1")
    path = _witness(trail, tmp_path / "w.jsonl")
    verifier = trail.verifier()
    expect_witness(verifier, path, TRUST, STREAM)
    assert trail.verify(verifier=verifier).clean
    trail.checkpoints.pop()
    verifier = trail.verifier()
    expect_witness(verifier, path, TRUST, STREAM)
    assert Kind.CHECKPOINT_MISSING in trail.verify(verifier=verifier).findings.counts


def test_a_witness_with_lines_that_were_cut_off(trail: MadeTrail, tmp_path: Path) -> None:
    """A crash may leave half a line; it is counted, and the others count."""
    bad = ("{", "1", '{"worker": 1, "number": 1, "checkpoint": ""}', '{"worker": "w9"}')
    forged = json.dumps({"worker": "w9", "number": 1, "checkpoint": "AAAA"})
    path = _witness(trail, tmp_path / "w.jsonl", *bad, forged)
    verifier = trail.verifier()
    expect_witness(verifier, path, TRUST, STREAM)
    report = trail.verify(verifier=verifier)
    assert report.clean
    assert report.findings.counts[Kind.UNCHECKED] == 2
    assert any("4 lines" in remark.text for remark in report.findings.remarks)


def test_a_witness_that_is_not_there(trail: MadeTrail, tmp_path: Path) -> None:
    """A file that was named has to be there."""
    with pytest.raises(ConfigurationError, match=r"w\.jsonl"):
        expect_witness(trail.verifier(), tmp_path / "w.jsonl", TRUST, STREAM)


def test_a_file_that_is_no_receipt(trail: MadeTrail, tmp_path: Path) -> None:
    """It is said which file, before anything is read."""
    path = tmp_path / "r.json"
    path.write_text("{}")
    with pytest.raises(ConfigurationError, match=r"r\.json"):
        expect_receipts(trail.verifier(), [path], TRUST, STREAM)


async def _batches(entries: list[TrailEntry]) -> AsyncGenerator[list[TrailEntry]]:
    for begin in range(0, len(entries), 600):
        yield entries[begin : begin + 600]
        await asyncio.sleep(0)


async def test_many_processes_read_in_order() -> None:
    """Entries leave as they came, whoever read them, the same as in one process."""
    made = MadeTrail()
    for _ in range(3 * CHUNK):
        made.command("w1")
    made.records[7] = made.records[7]._replace(data=b"?")
    read: list[list[int]] = []
    for jobs in (1, 2):
        entries = [
            entry
            async for chunk in read_entries(_batches(made.records), jobs=jobs, signatures=True)
            for entry in chunk
        ]
        assert entries[7].problems[0].kind == Kind.MALFORMED
        read.append([entry.sequence for entry in entries])
        assert sum(entry.signed for entry in entries) == 3 * CHUNK
    assert read[0] == read[1] == list(range(1, len(made.records) + 1))
