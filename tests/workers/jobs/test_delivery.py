"""What becomes of a durable job after each delivery."""

from __future__ import annotations

import pytest

from mallku_contracts.envelope import CommandHeader
from mallku_contracts.errors import (
    BY_CODE,
    AuditUnavailable,
    Busy,
    DeadlineExceeded,
    InternalError,
    JobGivenUp,
    JobShareUsed,
    MallkuError,
    OutcomePending,
    OutcomeUnknown,
    PermissionDenied,
    RateLimited,
    ResultTooLarge,
    StaleCommand,
    Unavailable,
    UniqueViolation,
)
from mallku_contracts.limits import JOB_MEMORY_MS, MAX_COMMAND_LIFE_MS, REDRIVE_WITHIN_MS
from mallku_contracts.subjects import CommandSubject
from mallku_workers.jobs.delivery import MAX_BACKOFF_S, SILENT, Delivery, Fate, backoff_s
from mallku_workers.ledger import entry_end_ms
from tests.vectors.world import NOW_MS, header

SUBJECT = CommandSubject("mallku", "main", "c", "insert", "job")
HEADER: CommandHeader = header(SUBJECT, exp=NOW_MS + 3_600_000, run_at=0, order="")


def delivery(number: int = 1, tries: int = 1, *, redriven: bool = False) -> Delivery:
    """One of a job that is given up after three tries."""
    return Delivery(NOW_MS, number, tries, 3, redriven=redriven)


def test_a_result_ends_it() -> None:
    """Done is done; also where the effect stands and its result cannot be told."""
    assert delivery().decide(None).fate is Fate.DONE
    stands = ResultTooLarge("large", details={"committed": True})
    assert delivery().decide(stands).fate is Fate.DONE
    assert delivery().decide(ResultTooLarge("large")).fate is Fate.DEAD


@pytest.mark.parametrize("kind", [Busy, RateLimited, Unavailable, AuditUnavailable])
def test_no_room_is_no_try(kind: type[MallkuError]) -> None:
    """What says nothing about the job is waited out, however often, and as long as it says."""
    verdict = delivery(number=500, tries=3).decide(kind("later", retry_after=7.0))
    assert (verdict.fate, verdict.counts) == (Fate.AGAIN, False)
    assert 7.0 <= verdict.delay_s <= MAX_BACKOFF_S


def test_a_read_that_the_store_does_not_answer_is_a_try() -> None:
    """It is tried as often as others, and not until its time is over."""
    silent = Unavailable("silent", details={SILENT: True})
    assert delivery(tries=1).decide(silent).counts
    assert delivery(tries=3).decide(silent).fate is Fate.DEAD


def test_a_crowding_job_is_refused_and_forgotten() -> None:
    """It was not begun: neither tried again nor kept among the dead."""
    crowding = Delivery(NOW_MS, 1, 1, 3, crowding=True)
    with pytest.raises(JobShareUsed) as raised:
        crowding.refuse_crowding()
    verdict = crowding.decide(raised.value)
    assert (verdict.fate, verdict.counts) == (Fate.REFUSED, False)
    delivery().refuse_crowding()


@pytest.mark.parametrize("kind", [OutcomeUnknown, OutcomePending, InternalError, DeadlineExceeded])
def test_what_may_be_mended_is_tried_again_and_then_dead(kind: type[MallkuError]) -> None:
    """Each try waits longer, and the last one ends it with its own reason."""
    delays = [delivery(tries=tries).decide(kind("e")).delay_s for tries in (1, 2)]
    assert delays == [1.0, 2.0]
    last = delivery(tries=3).decide(kind("e"))
    assert (last.fate, type(last.error)) == (Fate.DEAD, kind)


@pytest.mark.parametrize("kind", [UniqueViolation, PermissionDenied, StaleCommand, JobGivenUp])
def test_what_can_never_work_is_dead_at_once(kind: type[MallkuError]) -> None:
    """A refusal is not tried again."""
    assert delivery().decide(kind("no")).fate is Fate.DEAD


def test_every_error_is_decided() -> None:
    """No error of the tree leaves a job without a fate, and none that is final goes on for ever."""
    for kind in BY_CODE.values():
        verdict = delivery(tries=3).decide(kind("e"))
        assert verdict.fate in Fate
        assert verdict.fate is Fate.DEAD or not verdict.counts


def test_a_job_that_was_begun_too_often_is_begun_no_more() -> None:
    """Its last worker died over it, and nobody counts on the next one."""
    delivery(number=9, tries=3).refuse_spent()
    with pytest.raises(JobGivenUp):
        delivery(number=9, tries=4).refuse_spent()


def test_redriving_lifts_the_deadline_and_not_for_ever() -> None:
    """Late is too late; redriven it has until shortly before the ledger forgets it."""
    late = HEADER.exp + 60_000
    with pytest.raises(StaleCommand):
        delivery().check_time(HEADER, late, skew_ms=0)
    delivery(redriven=True).check_time(HEADER, late, skew_ms=0)
    with pytest.raises(StaleCommand):
        delivery(redriven=True).check_time(HEADER, HEADER.exp + REDRIVE_WITHIN_MS + 1, skew_ms=0)


def test_the_ledger_remembers_longer_than_a_job_can_be_tried() -> None:
    """Nothing of a job can begin, or still be running, when its entry is forgotten."""
    last_ms = delivery(redriven=True).ends_ms(HEADER) + 2 * MAX_COMMAND_LIFE_MS
    assert entry_end_ms(HEADER, NOW_MS) == HEADER.exp + JOB_MEMORY_MS
    assert last_ms < entry_end_ms(HEADER, NOW_MS)


def test_waits_are_bounded() -> None:
    """They grow and end at the longest, whatever number they are asked for."""
    waits = [backoff_s(tries) for tries in (0, 1, 2, 3, 7, 8, 10_000)]
    assert waits == sorted(waits)
    assert waits[-1] == MAX_BACKOFF_S
