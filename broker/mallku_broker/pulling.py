"""What one pulling consumer has delivered, in order and without a gap, or broken; without I/O."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from mallku_broker.deliveries import told
from mallku_broker.headers import status
from mallku_contracts.trail.stored import TrailEntry

_NS_PER_MS: Final = 1_000_000
_FULFILLED: Final = (b"Message Size Exceeds MaxBytes", b"Batch Completed")
"""How a request ends that got as many bytes as it asked for; other conflicts end the consumer."""


class Said(Enum):
    """What a status message of the server means for a consumer."""

    NOTHING_NEW = auto()
    PULL_ENDED = auto()
    BROKEN = auto()


class Pulled:
    """Messages of one consumer that wait to be taken, and the requests that are open.

    Attributes:
        consumer: The consumer's name.
        entries: What waits to be taken.
        size: Its bytes.
        delivered: How many messages the consumer has delivered.
        broken: Nothing more comes from it; why it broke stands in `why`.
        dry: The server said that nothing more is there.
    """

    def __init__(self, consumer: str, position: int) -> None:
        self.consumer = consumer
        self.entries: list[TrailEntry] = []
        self.size = 0
        self.delivered = 0
        self.broken = False
        self.why = ""
        self.dry = False
        self._position = position
        self._requests: dict[str, int] = {}

    @property
    def open_requests(self) -> int:
        """How many requests the server still serves."""
        return len(self._requests)

    def requested(self, inbox: str, messages: int) -> None:
        """A request for so many messages was sent; what it is told comes to `inbox`."""
        self._requests[inbox] = messages

    def take(self, subject: str, reply: str, body: bytes) -> None:
        """A message came."""
        try:
            consumer, sequence, number, time_ns, pending = told(reply)
        except ValueError:
            self.end("the server delivered something that is no message of a stream")
            return
        if consumer != self.consumer or self.broken:
            return  # of a consumer that was given up
        if number != self.delivered + 1 or sequence <= self._position:
            self.end("a message was lost on the way")
            return
        self.delivered, self._position = number, sequence
        self.dry = not pending
        self.entries.append(TrailEntry(sequence, subject, time_ns // _NS_PER_MS, body))
        self.size += len(body)
        self._count()

    def hear(self, inbox: str, header: bytes | None) -> None:
        """The server said something about the request with this inbox."""
        if inbox not in self._requests:
            return
        match _meaning(header):
            case Said.NOTHING_NEW:
                pass
            case Said.PULL_ENDED:
                del self._requests[inbox]
            case Said.BROKEN:
                self.end(f"the server ended the reader ({_text(header)})")

    def end(self, why: str) -> None:
        """Nothing more is taken from this consumer."""
        if not self.broken:
            self.broken, self.why = True, why

    def _count(self) -> None:
        """The server serves requests in the order in which they came."""
        for inbox, left in self._requests.items():
            if left > 1:
                self._requests[inbox] = left - 1
            else:
                del self._requests[inbox]
            return


def _meaning(header: bytes | None) -> Said:
    match status(header):
        case 100:
            return Said.NOTHING_NEW
        case 404 | 408:
            return Said.PULL_ENDED
        case 409 if any(words in (header or b"") for words in _FULFILLED):
            return Said.PULL_ENDED
        case _:
            return Said.BROKEN


def _text(header: bytes | None) -> str:
    line = (header or b"").split(b"\r\n", 1)[0]
    return line.removeprefix(b"NATS/1.0 ").decode("ascii", "replace")[:80]
