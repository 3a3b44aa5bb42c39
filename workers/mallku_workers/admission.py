"""Step 1, admit: nothing is read yet; size, subject, inbox, and a free slot."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final, TypeVar

from mallku_contracts.errors import Busy, ForeignReplyInbox, InvalidSubject, MessageTooLarge
from mallku_contracts.limits import MAX_COMMAND_BYTES
from mallku_contracts.operations import OPERATIONS, Operation, Scope
from mallku_contracts.policy import Limits
from mallku_contracts.subjects import (
    CURSOR,
    NEXT,
    NO_COLLECTION,
    CommandSubject,
    is_name,
    is_own_inbox,
)
from mallku_workers.message import Case, Message
from mallku_workers.rolling import Pace

UNKNOWN_IN_FLIGHT: Final = 4
"""Commands under way for each principal that the policy does not know, commands."""

PACE_WINDOW_S: Final = 5.0
"""Over which it is measured how fast slots become free, seconds."""

MAX_PACES: Final = 1_024
"""Principals and classes whose pace is known; the oldest is forgotten for a new one."""

_T = TypeVar("_T")
_PRINCIPAL: Final = 3
"""Where in a command's subject the principal stands."""


def admit(case: Case) -> tuple[CommandSubject, Operation]:
    """Check what can be checked from the outside.

    Until the reply subject is known to be the principal's own inbox nothing is published to it: a
    broker does not hold what we publish there to the permissions of whoever asked for it.

    Raises:
        InvalidSubject, ForeignReplyInbox, MessageTooLarge
    """
    message = case.message
    case.may_reply = _is_own_inbox(message)
    case.subject = subject = CommandSubject.parse(message.subject)
    if not case.may_reply:
        raise ForeignReplyInbox("the reply was not asked for at the principal's own inbox")
    operation = OPERATIONS.get(subject.operation)
    if operation is None:
        raise InvalidSubject(f"there is no operation {subject.operation!r}")
    case.operation = operation
    if (subject.channel == CURSOR) != (operation.name == NEXT):
        raise InvalidSubject(f"{NEXT} is asked for at the worker that holds the cursor")
    if (subject.collection == NO_COLLECTION) != (operation.scope is Scope.DATABASE):
        raise InvalidSubject(
            f"{operation.name} is about a {operation.scope}; the subject says otherwise"
        )
    _refuse_large(case, MAX_COMMAND_BYTES)
    return subject, operation


def _refuse_large(case: Case, most: int) -> None:
    if len(case.message.data) > most:
        raise MessageTooLarge(f"a command has at most {most} bytes here")


def _is_own_inbox(message: Message) -> bool:
    """Whether the reply goes to whom the subject names, be the rest of the subject as it may."""
    tokens = message.subject.split(".", _PRINCIPAL + 1)
    principal = tokens[_PRINCIPAL] if len(tokens) > _PRINCIPAL else ""
    return is_name(principal) and is_own_inbox(message.reply, principal)


class Slots:
    """Bounds what is under way: for each principal, then for the worker.

    Nobody holds more slots than are free, so that however many one takes there is one for the next
    (the dynamic thresholds of Choudhury and Hahne, 1998): alone up to half, two up to a third each.
    Classes of operations that have an `in_flight` of their own are counted apart.

    Args:
        total: Commands under way in this worker.
        limits: The principal's own; None for one that the policy does not know.
        retry_after: Advice in `Busy` before it was measured how fast slots become free, seconds.
        clock: Monotonic seconds.

    Attributes:
        total: As given.
        in_flight: Commands under way now.
        turned_away: Commands that found no slot, since the start; counted, and not recorded.
    """

    def __init__(
        self,
        total: int,
        limits: Callable[[str], Limits | None],
        retry_after: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self._limits = limits
        self._retry_after = retry_after
        self._clock = clock
        self._pace = self._new_pace()
        self._paces: dict[tuple[str, str], Pace] = {}
        self._taken: Counter[tuple[str, str]] = Counter()
        self._held: Counter[str] = Counter()
        self.in_flight = 0
        self.turned_away = 0

    def take(self, case: Case, principal: str) -> None:
        """Hold a slot until it is given back.

        Raises:
            Busy: there is none.
            MessageTooLarge: no command of this principal may be so large.
        """
        bound, key = UNKNOWN_IN_FLIGHT, (principal, "")
        limits = self._limits(principal)
        if limits is not None and case.operation is not None:
            own = limits.of(case.operation.access)
            bound = own.in_flight
            if bound != limits.in_flight:
                key = (principal, case.operation.access.value)
            _refuse_large(case, own.payload_bytes)
        taken = self._taken[key]
        if taken >= bound:
            pace = self._paces.get(key) or self._new_pace()
            told = f"{principal!r} has {bound} commands under way here"
            raise self._busy(told, pace.retry_after_s(taken))
        if self._held[principal] >= self.total - self.in_flight:
            after_s = self._pace.retry_after_s(self.in_flight)
            raise self._busy("this worker has no free slot", after_s)
        self._taken[key] = taken + 1
        self._held[principal] += 1
        self.in_flight += 1
        case.slot = key

    def give_back(self, case: Case) -> None:
        """Free the slot that the case holds, if it holds one."""
        key, case.slot = case.slot, None
        if key is None:
            return
        self.in_flight -= 1
        _count_down(self._taken, key)
        _count_down(self._held, key[0])
        self._pace.free()
        self._pace_of(key).free()

    def _busy(self, message: str, retry_after: float) -> Busy:
        self.turned_away += 1
        return Busy(message, retry_after=retry_after)

    def _new_pace(self) -> Pace:
        return Pace(PACE_WINDOW_S, self._retry_after, self._clock)

    def _pace_of(self, key: tuple[str, str]) -> Pace:
        pace = self._paces.get(key)
        if pace is None:
            if len(self._paces) >= MAX_PACES:
                del self._paces[next(iter(self._paces))]
            pace = self._paces[key] = self._new_pace()
        return pace


def _count_down(counts: Counter[_T], name: _T) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]
