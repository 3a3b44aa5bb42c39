"""Step 1, admit: nothing is read yet; size, subject, inbox, and a free slot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from mallku_contracts.errors import Busy, ForeignReplyInbox, InvalidSubject, MessageTooLarge
from mallku_contracts.limits import MAX_COMMAND_BYTES
from mallku_contracts.operations import OPERATIONS, Operation, Scope
from mallku_contracts.policy import Limits
from mallku_contracts.subjects import NO_COLLECTION, CommandSubject, is_own_inbox
from mallku_workers.message import Case

UNKNOWN_IN_FLIGHT: Final = 4
"""Commands under way for each principal that the policy does not know, commands."""


def admit(case: Case) -> tuple[CommandSubject, Operation]:
    """Check what can be checked from the outside.

    Until the reply subject is known to be the principal's own inbox nothing is published to it: a
    broker does not hold what we publish there to the permissions of whoever asked for it.

    Raises:
        InvalidSubject, ForeignReplyInbox, MessageTooLarge
    """
    message = case.message
    subject = CommandSubject.parse(message.subject)
    case.subject = subject
    if not is_own_inbox(message.reply, subject.principal):
        raise ForeignReplyInbox("the reply was not asked for at the principal's own inbox")
    case.may_reply = True
    operation = OPERATIONS.get(subject.operation)
    if operation is None:
        raise InvalidSubject(f"there is no operation {subject.operation!r}")
    case.operation = operation
    if (subject.collection == NO_COLLECTION) != (operation.scope is Scope.DATABASE):
        raise InvalidSubject(
            f"{operation.name} is about a {operation.scope}; the subject says otherwise"
        )
    if len(message.data) > MAX_COMMAND_BYTES:
        raise MessageTooLarge(f"a command has at most {MAX_COMMAND_BYTES} bytes")
    return subject, operation


class Slots:
    """Bounds what is under way: for each principal, then for the worker.

    Args:
        total: Commands under way in this worker.
        limits: The principal's own; None for one that the policy does not know.
        retry_after: Advice in `Busy`, seconds.

    Attributes:
        in_flight: Commands under way now.
        turned_away: Commands that found no slot, since the start; counted, and not recorded.
    """

    def __init__(
        self, total: int, limits: Callable[[str], Limits | None], retry_after: float
    ) -> None:
        self._total = total
        self._limits = limits
        self._retry_after = retry_after
        self._taken: Counter[str] = Counter()
        self.in_flight = 0
        self.turned_away = 0

    @contextmanager
    def take(self, case: Case, principal: str) -> Iterator[None]:
        """Hold a slot while the command is under way; `Busy` when there is none."""
        limits = self._limits(principal)
        bound = UNKNOWN_IN_FLIGHT if limits is None else limits.in_flight
        if self._taken[principal] >= bound:
            raise self._busy(f"{principal!r} has {bound} commands under way here")
        if self.in_flight >= self._total:
            raise self._busy("this worker has no free slot")
        self._taken[principal] += 1
        self.in_flight += 1
        case.admitted = True
        try:
            yield
        finally:
            self.in_flight -= 1
            self._taken[principal] -= 1
            if not self._taken[principal]:
                del self._taken[principal]

    def _busy(self, message: str) -> Busy:
        self.turned_away += 1
        return Busy(message, retry_after=self._retry_after)
