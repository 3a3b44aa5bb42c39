"""Step 1: who was refused too often waits, before anything of theirs costs cryptography."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mallku_contracts.errors import Busy, JobShareUsed, MallkuError, RateLimited
from mallku_workers.message import Case
from mallku_workers.throttle.account import NS

MAX_COUNTED: Final = 10_000
"""Principals whose refusals are counted; beyond that the one refused first is forgotten."""

BURST_S: Final = 5
"""How many seconds' worth of refusals may come at once."""


class Refusals:
    """Bounds how often a principal is refused for what is wrong with its commands.

    Counted is what steps 1 to 6 refuse, but for `busy`, rates and shares, which say when to come
    back themselves. A durable job beyond its principal's share is looked at nevertheless: it is to
    leave its stream, and whoever submitted it is to hear so. The principal is the one that the
    message's subject names. The broker lets nobody publish there but connections with that
    principal's own credentials, so that no outsider can lock it out; whoever holds its credentials
    shares one count with it. What asks for no reply at the principal's own inbox is not counted:
    the server's own answers would be like that, if a broker that is set up otherwise let them come
    here. Each worker counts alone.

    Args:
        per_s: Refusals of one principal in a second, sustained.
        clock: Nanoseconds.
    """

    def __init__(self, per_s: int, clock: Callable[[], int]) -> None:
        self._cost = NS // per_s
        self._clock = clock
        self._until: dict[str, int] = {}

    def hold_back(self, case: Case, principal: str) -> None:
        """Refuse a message unseen while the principal's refusals are used up.

        Raises:
            RateLimited: after `retry_after` seconds the next message is looked at.
        """
        until = self._until.get(principal)
        job = case.message.job
        if until is None or (job is not None and job.crowding):
            return
        wait = until - self._clock() - BURST_S * NS
        if wait > 0:
            case.held_back = True
            raise RateLimited(
                f"too many messages of {principal!r} were refused here", retry_after=wait / NS
            )

    def count(self, case: Case, error: MallkuError) -> None:
        """Count a refusal that says that something was wrong with the message."""
        if case.subject is None or not case.may_reply:
            return
        if case.held_back or "throttle" in case.steps:
            return
        if isinstance(error, (Busy, RateLimited, JobShareUsed)):
            return
        now, principal = self._clock(), case.subject.principal
        until = max(self._until.pop(principal, now), now) + self._cost
        if len(self._until) >= MAX_COUNTED:
            del self._until[next(iter(self._until))]
        self._until[principal] = until
