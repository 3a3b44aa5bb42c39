"""One line in the log for each command that was refused or failed, and none for one that was done.

A line has what says which command it was, and nothing that a caller wrote: no message, no argument,
no name that a policy has not let in. Floods are summed up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from mallku_contracts.errors import Busy, InternalError, MallkuError, OutcomePending, OutcomeUnknown
from mallku_workers.message import Case
from mallku_workers.observing.observer import Observer

MAX_LINES_PER_S: Final = 50
"""Lines about refusals in a second; the rest is told as a number."""

TELL_S: Final = 1.0
"""Between two looks whether there were too many lines, seconds."""

_SURPRISES: Final = (InternalError, OutcomePending, OutcomeUnknown)
_log = structlog.get_logger("mallku.commands")


class RefusalLog:
    """Writes the lines; an `Observer`.

    Args:
        talks: Whether lines about what was done are written too; most of the time they are not,
            and cost nothing.
        clock: Monotonic seconds.
    """

    def __init__(
        self, talks: Callable[[], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._talks = talks
        self._clock = clock
        self._second, self._written, self._left_out = 0, 0, 0

    def ended(self, case: Case, error: MallkuError | None) -> None:
        """Write a line, if there is one to write; `busy` is counted and not told."""
        if error is None:
            if self._talks():
                _log.debug("command_done", **_which(case), steps=case.steps)
            return
        if isinstance(error, Busy) or not self._has_room():
            return
        write = _log.warning if isinstance(error, _SURPRISES) else _log.info
        event = "command_failed" if case.intended else "command_refused"
        write(event, code=error.code, number=error.number, **_which(case), **_where(error))

    async def keep_telling(self) -> None:
        """Tell how many lines a second had too many once it is over, until cancelled."""
        try:
            while True:
                await asyncio.sleep(TELL_S)
                self._turn()
        finally:
            self._tell()

    def _turn(self) -> None:
        second = int(self._clock())
        if second != self._second:
            self._tell()
            self._second, self._written = second, 0

    def _tell(self) -> None:
        if self._left_out:
            _log.warning("refusals_left_out", lines=self._left_out)
        self._left_out = 0

    def _has_room(self) -> bool:
        self._turn()
        if self._written >= MAX_LINES_PER_S:
            self._left_out += 1
            return False
        self._written += 1
        return True


class Several:
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def ended(self, case: Case, error: MallkuError | None) -> None:
        """Tell each of them."""
        for observer in self._observers:
            observer.ended(case, error)


def _which(case: Case) -> dict[str, Any]:
    """By what the command is found again: in the trail, in a trace, at its caller."""
    subject = case.subject
    which: dict[str, Any] = {"id": case.header.id if case.header else ""}
    if case.message.trace:
        which["trace"] = case.message.trace
    if subject is not None:
        which |= {"principal": subject.principal, "operation": subject.operation}
    if subject is not None and case.grant is not None:
        which |= {"database": subject.database, "collection": subject.collection}
    return which


def _where(error: MallkuError) -> dict[str, str]:
    return {"correlation": error.correlation} if error.correlation else {}
