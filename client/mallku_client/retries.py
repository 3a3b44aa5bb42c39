"""When a command is sent again, and what its caller may be told in the end: pure decisions.

A command is repeated only when that is safe: it is signed anew with the same idempotency key, so
that its effect happens at most once. A refusal is final. Once the fate of one attempt is unknown,
a later refusal says nothing about it, and the call ends as `OutcomeUnknown`.
"""

from __future__ import annotations

from dataclasses import dataclass

from mallku_client.guards import RetryBudget
from mallku_client.transport import NotDelivered, TransportError, is_lost
from mallku_contracts.errors import (
    CursorLost,
    DeadlineExceeded,
    GatewayUnreachable,
    InternalError,
    MallkuError,
    OutcomePending,
    OutcomeUnknown,
    Replayed,
    ResultTooLarge,
    UnverifiedReply,
)
from mallku_contracts.limits import MAX_COMMAND_LIFE_MS

Failure = MallkuError | TransportError

_SAYS_NOTHING = (OutcomeUnknown, UnverifiedReply, InternalError, Replayed)
"""Answers to a mutation after which it may or may not have had its effect.

`Replayed` says that our own bytes were there before: somebody else sent them first, and the answer
to them may still be on its way.
"""

_WORTH_ANOTHER = (OutcomeUnknown, UnverifiedReply, Replayed)

_MIN_ATTEMPT_S = 0.001
_NEARLY = 0.9


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a command is tried again, within its caller's deadline.

    Attributes:
        max_attempts: Attempts of one call, the first included (1 or more).
        first_backoff_s: Longest wait before the second attempt, seconds; each later one doubles.
        max_backoff_s: Longest wait between two attempts, seconds.
        attempt_share: Part of the remaining time that an attempt waits for its reply (0 to 1);
            the last attempt waits for all of it.
        away_s: How long a call of which nothing has left waits for a connection to come back,
            seconds. Once something may have arrived, the whole time is used to find out.
    """

    max_attempts: int = 5
    first_backoff_s: float = 0.05
    max_backoff_s: float = 2.0
    attempt_share: float = 0.3
    away_s: float = 0.8

    def attempt_timeout_s(self, attempt: int, left_s: float) -> float:
        """How long attempt number `attempt` (from 1) waits for its reply, seconds."""
        share = 1.0 if attempt >= self.max_attempts else self.attempt_share
        return min(max(left_s * share, _MIN_ATTEMPT_S), MAX_COMMAND_LIFE_MS / 1000)

    def backoff_s(self, attempt: int, jitter: float, retry_after: float | None) -> float:
        """The wait after attempt number `attempt`, seconds.

        Args:
            jitter: 0 to 1, drawn for this wait; the wait is between half and all of its length.
            retry_after: The gateway's own word, which is never undercut, seconds.
        """
        longest = min(self.first_backoff_s * 2.0 ** (attempt - 1), self.max_backoff_s)
        return max(longest * (0.5 + jitter / 2), retry_after or 0.0)


class Attempts:
    """What is known about one call while it is tried; times are seconds of a monotonic clock."""

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        mutates: bool,
        idempotency_key: str,
        now_s: float,
        timeout_s: float,
        budget: RetryBudget | None = None,
    ) -> None:
        self._policy = policy
        self._mutates = mutates
        self._idempotency_key = idempotency_key
        self._timeout_s = timeout_s
        self._began_s = now_s
        self._deadline_s = now_s + timeout_s
        self._budget = budget
        self.number = 1
        self.fate_unknown = False

    def timeout_s(self, now_s: float, *, away: bool = False) -> float:
        """How long the attempt that begins now waits for its reply.

        Args:
            away: There is no connection now.
        """
        timeout_s = self._policy.attempt_timeout_s(self.number, self._deadline_s - now_s)
        return min(timeout_s, self._policy.away_s) if away and not self.fate_unknown else timeout_s

    def wait_after(
        self, failure: Failure, *, now_s: float, jitter: float, repaired: bool = False
    ) -> float:
        """How long to wait before the next attempt, or raise what the caller is to be told.

        Args:
            repaired: Whether the reason of a refusal is gone (a newer token, a corrected clock).
        """
        if self._mutates and _leaves_fate_open(failure):
            self.fate_unknown = True
        pause = self._pause(failure, now_s, jitter, repaired=repaired)
        if pause is None or now_s + pause >= self._deadline_s:
            verdict = self._verdict(failure)
            raise verdict from (None if verdict is failure else failure)
        self.number += 1
        return pause

    def _pause(
        self, failure: Failure, now_s: float, jitter: float, *, repaired: bool
    ) -> float | None:
        if self.number >= self._policy.max_attempts:
            return None
        if repaired:
            return 0.0
        if not _may_help(failure, mutates=self._mutates) or self._is_away(failure, now_s):
            return None
        if self._budget is not None and not self._budget.take():
            return None
        retry_after = failure.retry_after if isinstance(failure, MallkuError) else None
        return self._policy.backoff_s(self.number, jitter, retry_after)

    def _is_away(self, failure: Failure, now_s: float) -> bool:
        """Whether the connection is gone for so long that the caller had better know."""
        away_s = _NEARLY * self._policy.away_s  # timers may be a little early
        return is_lost(failure) and not self.fate_unknown and now_s - self._began_s >= away_s

    def _verdict(self, failure: Failure) -> MallkuError:
        if self.fate_unknown and not _says_done(failure):
            return OutcomeUnknown(
                f"it is not known whether the command had its effect ({failure}); ask with "
                f"outcome(idempotency_key={self._idempotency_key!r}), or repeat it with that key",
                details={"idempotency_key": self._idempotency_key},
                correlation=failure.correlation if isinstance(failure, MallkuError) else None,
            )
        if isinstance(failure, MallkuError):
            return failure
        if isinstance(failure, NotDelivered):
            return GatewayUnreachable(f"{failure} (attempts: {self.number})")
        return DeadlineExceeded(
            f"{failure} (attempts: {self.number}, timeout: {self._timeout_s:g} s)"
        )


def _leaves_fate_open(failure: Failure) -> bool:
    if isinstance(failure, TransportError):
        return not isinstance(failure, NotDelivered)
    return isinstance(failure, _SAYS_NOTHING)


def _says_done(failure: Failure) -> bool:
    """Whether the gateway says that the effect stands, though it has no result to give."""
    if isinstance(failure, ResultTooLarge):
        return failure.details.get("committed") is True
    return isinstance(failure, OutcomePending)


def _may_help(failure: Failure, *, mutates: bool) -> bool:
    if isinstance(failure, TransportError):
        return True
    if isinstance(failure, CursorLost):  # the query can be asked again, not this page
        return False
    return failure.retryable or (mutates and isinstance(failure, _WORTH_ANOTHER))
