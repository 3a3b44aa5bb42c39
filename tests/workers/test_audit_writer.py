from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from mallku_contracts.errors import InvalidSubject, MallkuError
from mallku_contracts.governed import Kind, adopted, refused
from mallku_contracts.subjects import CommandSubject
from mallku_workers.audit import AuditLimits, AuditWriter, Numbers, minutes
from mallku_workers.audit import floods as floods_module
from mallku_workers.audit.floods import OTHERS, RefusalFloods
from mallku_workers.message import Case, Message, unix_ms
from tests.support.simulated_trail import Fate, SimulatedTrail
from tests.workers.world import until

ERROR: MallkuError = InvalidSubject("no")
SHORT = AuditLimits(wait_s=0.05, retry_s=0.01, max_pending=20, refusals_per_minute=3)


def _case(principal: str = "p") -> Case:
    case = Case(Message("mallku.v1.cmd.p.d.c.get", "", b"", 0, 0.0))
    case.subject = CommandSubject(principal, "d", "c", "get")
    return case


@pytest.fixture
async def trail() -> SimulatedTrail:
    """A trail of one's own."""
    return SimulatedTrail()


@pytest.fixture
async def audit(trail: SimulatedTrail) -> AuditWriter:
    """A writer on it."""
    return AuditWriter(trail, "w1", SHORT, unix_ms, Numbers())


async def test_a_flood_is_summed_up_by_the_minute(
    trail: SimulatedTrail, audit: AuditWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first refusals have a record each, the rest one with their number.

    It is written when the minute is over, whether or not anybody is refused after it.
    """
    monkeypatch.setattr(minutes, "MINUTE_S", 0.02)
    for _ in range(10):
        audit.denied(_case(), ERROR)
    audit.denied(_case("q"), ERROR)
    assert [record.count for record in trail.records()] == [1] * 4
    async with asyncio.timeout(5):
        await until(lambda: len(trail.stream) >= 5)
    summary = trail.records()[-1]
    assert (summary.principal, summary.count, summary.id) == ("p", 7, "")
    assert trail.stream[-1].subject == "mallku.v1.audit.p.unknown.@.unknown.denied"
    audit.denied(_case(), ERROR)
    assert trail.records()[-1].count == 1


async def test_the_last_summary_is_written_at_the_end(
    trail: SimulatedTrail, audit: AuditWriter
) -> None:
    """What was counted when the worker stops is not forgotten."""
    for _ in range(5):
        audit.denied(_case(), ERROR)
    assert await audit.flush(1.0) == 0
    assert sum(record.count for record in trail.records()) == 5


async def test_a_flood_of_forged_documents_is_summed_up(
    trail: SimulatedTrail, audit: AuditWriter
) -> None:
    """Who can write into a bucket cannot fill the trail; adoptions are written in any case."""
    for revision in range(100):
        audit.administrative(
            refused(Kind.POLICY), "denied", code="policy_refused", position=revision, reason="no"
        )
    audit.administrative(adopted(Kind.POLICY, 7), "done", policy=7)
    assert await audit.flush(1.0) == 0
    records = trail.records("denied")
    assert (len(records), sum(record.count for record in records)) == (4, 100)
    assert {record.principal for record in records} == {"_gateway"}
    assert [record.policy for record in trail.records("done")] == [7]
    subjects = [entry.subject for entry in trail.stream]
    assert "mallku.v1.audit._gateway.mallku_policy.7.adopt.done" in subjects


async def test_refusals_do_not_pile_up(trail: SimulatedTrail) -> None:
    """While the trail is silent, refusals are counted once the limit is reached; nothing grows."""
    limits = AuditLimits(wait_s=0.05, retry_s=0.01, max_pending=20, refusals_per_minute=1_000)
    audit = AuditWriter(trail, "w1", limits, unix_ms, Numbers())
    trail.fate = lambda _record: Fate.UNSENT
    for _ in range(500):
        audit.denied(_case(), ERROR)
    assert audit.pending == 20
    trail.fate = lambda _record: Fate.STORED
    assert await audit.flush(1.0) == 0
    assert sum(record.count for record in trail.records()) == 500


async def test_flush_is_bounded_and_says_what_is_left(
    trail: SimulatedTrail, audit: AuditWriter
) -> None:
    """A trail that stays silent does not keep a worker from ending."""
    trail.fate = lambda _record: Fate.LOST
    for _ in range(3):
        audit.denied(_case(), ERROR)
    assert await audit.flush(0.05) == 3


async def test_silence_is_logged_once(trail: SimulatedTrail, audit: AuditWriter) -> None:
    """When the trail falls silent and when it answers again, not for each record."""
    trail.fate = lambda _record: Fate.UNSENT
    with capture_logs() as logs:
        for _ in range(3):
            audit.denied(_case(), ERROR)
        await audit.flush(0.05)
        trail.fate = lambda _record: Fate.STORED
        assert await audit.flush(1.0) == 0
    assert [entry["event"] for entry in logs] == ["trail_silent", "trail_answers"]


async def test_a_flood_of_names(trail: SimulatedTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names beyond those that are counted apart share one count."""
    monkeypatch.setattr(floods_module, "MAX_COUNTED_PRINCIPALS", 5)
    floods = RefusalFloods(1)
    passed = [floods.passes(f"p{number}", room=True) for number in range(20)]
    assert passed == [True] * 6 + [False] * 14
    assert floods.summaries() == [(OTHERS, 14)]
    assert floods.summaries() == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans())))
def test_no_refusal_is_lost(steps: list[tuple[str, bool, bool]]) -> None:
    """Records and summaries together are as many as refusals, whenever minutes end."""
    floods, recorded = RefusalFloods(2), 0
    for principal, room, minute_ends in steps:
        recorded += floods.passes(principal, room=room)
        if minute_ends:
            recorded += sum(count for _, count in floods.summaries())
    recorded += sum(count for _, count in floods.summaries())
    assert recorded == len(steps)
