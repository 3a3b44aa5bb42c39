from __future__ import annotations

import itertools

import pytest

from mallku_client.guards import RetryBudget
from mallku_client.retries import Attempts, Failure, RetryPolicy
from mallku_client.transport import NoAnswer, NotDelivered
from mallku_contracts.errors import (
    AuditUnavailable,
    Busy,
    DeadlineExceeded,
    GatewayUnreachable,
    InternalError,
    InvalidArguments,
    MallkuError,
    OutcomePending,
    OutcomeUnknown,
    PermissionDenied,
    RateLimited,
    Replayed,
    ResultTooLarge,
    Unavailable,
    UniqueViolation,
    UnverifiedReply,
)

POLICY = RetryPolicy(max_attempts=3, first_backoff_s=0.1, max_backoff_s=0.3, attempt_share=0.5)
OPEN: list[Failure] = [
    NoAnswer("lost"),
    UnverifiedReply("forged"),
    OutcomeUnknown("?"),
    InternalError("?"),
    Replayed("somebody else sent our bytes first"),
]


def _attempts(*, mutates: bool = True, timeout_s: float = 10.0) -> Attempts:
    return Attempts(POLICY, mutates=mutates, idempotency_key="key", now_s=100, timeout_s=timeout_s)


def _end(attempts: Attempts, *failures: Failure) -> MallkuError:
    """What the caller is told after these failures, one after the other."""
    try:
        for failure in failures:
            attempts.wait_after(failure, now_s=100, jitter=1)
    except MallkuError as error:
        return error
    raise AssertionError("the call would go on")


def test_waits_double_within_their_bounds() -> None:
    """Between half and all of 0.1, 0.2, 0.3, 0.3 s; the gateway's own word is never undercut."""
    assert [POLICY.backoff_s(n, 1, None) for n in (1, 2, 3, 9)] == pytest.approx(
        [0.1, 0.2, 0.3, 0.3]
    )
    assert POLICY.backoff_s(1, 0, None) == pytest.approx(0.05)
    assert POLICY.backoff_s(1, 0, 5.0) == 5.0


def test_the_last_attempt_gets_all_the_time_that_is_left() -> None:
    """Others get their share; none waits longer than a command may live."""
    assert [POLICY.attempt_timeout_s(n, 8) for n in (1, 2, 3)] == [4, 4, 8]
    assert POLICY.attempt_timeout_s(3, 3_600) == 60
    assert POLICY.attempt_timeout_s(1, -1) > 0


@pytest.mark.parametrize("mutates", [True, False])
@pytest.mark.parametrize(
    "failure",
    [Busy("b"), RateLimited("r"), Unavailable("u"), AuditUnavailable("a"), NotDelivered("n")],
)
def test_what_was_not_done_is_tried_again(failure: Failure, mutates: bool) -> None:
    """Up to the last attempt; then the caller is told just that."""
    attempts = _attempts(mutates=mutates)
    assert attempts.wait_after(failure, now_s=100, jitter=1) == pytest.approx(0.1)
    assert attempts.wait_after(failure, now_s=100, jitter=1) == pytest.approx(0.2)
    told = _end(attempts, failure)
    assert told is failure if isinstance(failure, MallkuError) else type(told) is GatewayUnreachable
    assert not isinstance(told, OutcomeUnknown)


@pytest.mark.parametrize("mutates", [True, False])
@pytest.mark.parametrize(
    "refusal", [PermissionDenied("p"), UniqueViolation("u"), InvalidArguments("i")]
)
def test_a_refusal_is_final(refusal: MallkuError, mutates: bool) -> None:
    """It is raised as it is, after one attempt, and is nobody's cause."""
    attempts = _attempts(mutates=mutates)
    assert _end(attempts, refusal) is refusal
    assert attempts.number == 1
    assert refusal.__cause__ is None


@pytest.mark.parametrize("lost", OPEN)
@pytest.mark.parametrize("later", [PermissionDenied("no"), UniqueViolation("no"), Busy("no")])
def test_an_unknown_fate_stays_unknown(lost: Failure, later: MallkuError) -> None:
    """A later refusal does not say what became of a lost attempt; it is told as the cause."""
    attempts = _attempts()
    if isinstance(lost, InternalError):
        assert isinstance(_end(attempts, lost), OutcomeUnknown)
        return
    attempts.wait_after(lost, now_s=100, jitter=1)
    told = _end(attempts, later, later)
    assert isinstance(told, OutcomeUnknown)
    assert told.__cause__ is later
    assert told.details == {"idempotency_key": "key"}
    assert "'key'" in told.message


@pytest.mark.parametrize("lost", OPEN)
def test_a_read_has_no_fate(lost: Failure) -> None:
    """A read that got no answer is never `OutcomeUnknown` of our making: nothing was at stake."""
    told = _end(_attempts(mutates=False), lost, lost, lost)
    if isinstance(lost, NoAnswer):
        assert type(told) is DeadlineExceeded
        assert "attempts: 3" in told.message
    else:
        assert told is lost


@pytest.mark.parametrize(
    "done", [OutcomePending("p"), ResultTooLarge("r", details={"committed": True})]
)
def test_a_gateway_that_says_done_is_believed(done: MallkuError) -> None:
    """Even after a lost attempt: the effect stands, and that is what the caller is told."""
    assert _end(_attempts(), NoAnswer("lost"), done) is done


def test_no_attempt_begins_after_the_deadline() -> None:
    """A wait that would end after the deadline is not begun."""
    attempts = _attempts(timeout_s=1.0)
    busy = Busy("b", retry_after=2.0)
    assert _end(attempts, busy) is busy
    late = _attempts(timeout_s=1.0)
    with pytest.raises(DeadlineExceeded, match="timeout: 1 s"):
        _attempts(mutates=False, timeout_s=1.0).wait_after(NoAnswer("l"), now_s=101, jitter=1)
    with pytest.raises(OutcomeUnknown):
        late.wait_after(NoAnswer("l"), now_s=100.95, jitter=1)


def test_a_repaired_refusal_is_repeated_at_once_but_not_for_ever() -> None:
    """A newer token or a corrected clock makes one more attempt worth it, within the bound."""
    attempts, refusal = _attempts(), PermissionDenied("stands for any refusal")
    waits = [
        attempts.wait_after(refusal, now_s=100, jitter=1, repaired=True)
        for _ in range(POLICY.max_attempts - 1)
    ]
    assert waits == [0, 0]
    with pytest.raises(PermissionDenied):
        attempts.wait_after(refusal, now_s=100, jitter=1, repaired=True)


def test_a_connection_that_is_gone_is_told_soon() -> None:
    """Nothing left and nobody to send it to: told after 0.8 s, not after the call's ten."""
    attempts = _attempts(mutates=True)
    assert attempts.timeout_s(100, away=True) == 0.8
    assert attempts.timeout_s(100) == 5.0
    with pytest.raises(GatewayUnreachable):
        attempts.wait_after(NotDelivered("not connected"), now_s=100.8, jitter=1)
    assert attempts.number == 1


def test_while_a_fate_is_unknown_the_whole_time_is_used() -> None:
    """What may have arrived is worth finding out, however long the connection is gone."""
    attempts = _attempts(mutates=True)
    attempts.wait_after(NoAnswer("lost"), now_s=100.5, jitter=1)
    assert attempts.timeout_s(101, away=True) == 4.5
    attempts.wait_after(NotDelivered("not connected"), now_s=105.5, jitter=1)
    assert attempts.number == 3


def test_retries_end_with_their_budget() -> None:
    """Without a retry in the budget the first failure is what the caller is told."""
    budget = RetryBudget(0.0, lambda: 100.0)
    while budget.take():
        pass
    for failure, end in ((Busy("full"), Busy), (NoAnswer("lost"), OutcomeUnknown)):
        attempts = Attempts(
            POLICY, mutates=True, idempotency_key="key", now_s=100, timeout_s=10, budget=budget
        )
        assert type(_end(attempts, failure)) is end


def test_every_end_is_one_of_three() -> None:
    """Whatever a mutation meets: unknown if any attempt was lost, else not done; nothing else."""
    failures: list[Failure] = [*OPEN, Busy("b"), PermissionDenied("p"), NotDelivered("n")]
    for row in itertools.product(failures, repeat=3):
        attempts, seen = _attempts(), 0
        told: MallkuError | None = None
        for failure in row:
            seen += 1
            try:
                attempts.wait_after(failure, now_s=100, jitter=0)
            except MallkuError as error:
                told = error
                break
        assert told is not None
        unknown = any(any(failure is lost for lost in OPEN) for failure in row[:seen])
        assert isinstance(told, OutcomeUnknown) == unknown


def test_bytes_that_somebody_else_sent_first_are_sent_anew() -> None:
    """`replayed` is no refusal of the mutation: the next attempt's ledger answer tells."""
    assert _attempts().wait_after(Replayed("seen before"), now_s=100, jitter=1) > 0
