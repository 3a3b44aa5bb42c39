"""What is under way here; what its caller no longer wants is not begun, if it has not been."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

from mallku_broker.connection import Listener
from mallku_contracts.cancelling import is_called_off
from mallku_contracts.errors import Busy
from mallku_contracts.keys import PublicKey
from mallku_contracts.subjects import CANCEL_PATTERN, read_cancel_subject
from mallku_workers.message import Case

MAX_CANCEL_BYTES: Final = 64
"""The body of a message that calls a command off: one signature, bytes."""

AGAIN_S: Final = 1.0
"""After so long a job may come again that waits for another of its id, seconds."""

_MAX_LOOKS: Final = 8
"""Wishes about one command whose signature is checked, which costs time; the rest are unread."""


_Place = tuple[str, str, bool]


class Listening(Protocol):
    """What is needed of a bus connection."""

    async def listen(self, subject: str, listener: Listener, *, queue: str = "") -> Any:
        """Call `listener` for each message."""
        ...


class UnderWay:
    """What a worker has identified and not answered yet, by principal, id and kind: job or not.

    As many as there are slots, so that it needs no bound of its own.
    """

    def __init__(self) -> None:
        self._cases: dict[_Place, tuple[Case, PublicKey]] = {}
        self.called_off = 0

    def __len__(self) -> int:
        return len(self._cases)

    def hold(self, case: Case) -> None:
        """The command is identified: from now on its caller can call it off.

        A copy of one that is under way does not take its place: it is refused later.

        Raises:
            Busy: a job of the same id is under way, be it the same or another, and this one has to
                come again. Ids are callers' to choose, and whoever reads the trail tells the
                outcomes of one worker's jobs apart by them.
        """
        signer = case.identity if case.carrier is None else case.carrier.identity
        place = _place(case)
        if signer is not None and place is not None:
            held, _ = self._cases.setdefault(place, (case, signer.key))
            if held is not case and case.message.job is not None:
                raise Busy(
                    "a job of this id is under way; this one comes again", retry_after=AGAIN_S
                )

    def release(self, case: Case) -> None:
        """The command is answered."""
        place = _place(case)
        held = None if place is None else self._cases.get(place)
        if place is not None and held is not None and held[0] is case:
            del self._cases[place]

    def call_off(self, subject: str, body: bytes) -> bool:
        """Have a command not begun, if it is here and its caller's own key signed the wish.

        Returns:
            Whether it was found and was its caller's wish. It may have begun all the same.
        """
        named = read_cancel_subject(subject)
        if named is None or len(body) > MAX_CANCEL_BYTES:
            return False
        held = self._cases.get((*named, False))
        if held is None or held[0].wishes >= _MAX_LOOKS:
            return False
        case, key = held
        case.wishes += 1
        if not is_called_off(subject, body, key):
            return False
        case.called_off = True
        self.called_off += 1
        return True


async def hear_cancellations(bus: Listening, under_way: UnderWay) -> None:
    """Listen for as long as the connection is there: what drains may still be called off."""
    loop = asyncio.get_running_loop()

    def hear(subject: str, _reply: str, body: bytes, _header: bytes | None) -> None:
        # A command that came in the same moment is identified first.
        loop.call_soon(under_way.call_off, subject, body)

    await bus.listen(CANCEL_PATTERN, hear)


def _place(case: Case) -> _Place | None:
    if case.subject is None or case.header is None:
        return None
    return case.subject.principal, case.header.id, case.message.job is not None
