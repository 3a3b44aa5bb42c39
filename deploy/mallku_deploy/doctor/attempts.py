"""What is tried and what came of it, as values; and why trying is harmless.

A lock is proven by trying the handle, so everything here has to be harmless behind an open door:

* a body is `POISON`, a JSON object that breaks off. No call of the JetStream API executes it: those
  that want no body refuse one (10038), the others cannot read it (10025). It has to begin like an
  object: the server (2.15.1) takes any other text as no body at all, and purges.
* every message asks for a stream that does not exist (`IMPOSSIBLE`), so that no stream keeps it; a
  stream's refusal (10060) is an answer of the server like any other, and can be diverted as well.
  The stream of jobs gives none; whether it does is what is tried.
* no worker does anything for a message that is not signed.
* names are random (`mark`): queue groups are joined for subjects on which nobody sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from mallku_broker.headers import encode_headers

POISON: Final = b'{"doctor'
IMPOSSIBLE: Final = encode_headers({"Nats-Expected-Stream": "MALLKU_NONE"})
NOT_EXPECTED: Final = 10060
"""The server's number for a message that asks for another stream than the one it comes to."""


class Kind(StrEnum):
    """Those who may connect."""

    CALLER = "caller"
    INSPECTOR = "inspector"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"
    DOOR = "door"
    BUS = "worker:bus"
    RECORDS = "worker:records"


class Publish(NamedTuple):
    """A message to this subject."""

    subject: str

    def __str__(self) -> str:
        return self.subject


class Subscribe(NamedTuple):
    """A subscription, in a queue group or not; ended as soon as the server has said yes or no."""

    subject: str
    queue: str = ""

    def __str__(self) -> str:
        return f"{self.subject} ({self.queue})" if self.queue else self.subject


Attempt = Publish | Subscribe


@dataclass(frozen=True, slots=True)
class Probe:
    """Attempts of one kind; the server has to refuse every one of them.

    Attributes:
        accepted: Why the gateway lives with it when they are let through; empty: it does not.
    """

    title: str
    attempts: tuple[Attempt, ...]
    accepted: str = ""


class Call(NamedTuple):
    """A request that the server itself answers, or has to leave unanswered (`silent`)."""

    subject: str
    body: bytes = b""
    header: bytes = b""
    silent: bool = False


class Stored(NamedTuple):
    """A subject whose messages this stream keeps; `by` can write there and read the stream."""

    subject: str
    stream: str
    by: Kind


class Heard(NamedTuple):
    """A subject at which `by` listens: a principal's name, or a worker (`Kind.RECORDS`)."""

    subject: str
    by: str


class Executed(NamedTuple):
    """The call that deletes a consumer, made for the purpose."""

    stream: str
    consumer: str

    @property
    def subject(self) -> str:
        """Where the call is made."""
        return f"$JS.API.CONSUMER.DELETE.{self.stream}.{self.consumer}"


Target = Stored | Heard | Executed


@dataclass(frozen=True, slots=True)
class Diversion:
    """The server's answer to `call` is asked for at each of `targets`; it has to reach none.

    Attributes:
        prepare: What has to be asked before, such as a consumer to pull from.
        accepted: As in `Probe`.
        grave: Would leave something behind that cannot be taken away; tried only when the server's
            answers came nowhere else.
    """

    title: str
    call: Call
    targets: tuple[Target, ...]
    prepare: Call | None = None
    accepted: str = ""
    grave: bool = False

    @property
    def tried(self) -> tuple[str, ...]:
        """Where the answer is asked for."""
        return tuple(target.subject for target in self.targets)


class Verdict(StrEnum):
    """What a try has shown."""

    PROVEN = "ok"
    WIDER = "wider"
    HOLE = "HOLE"
    UNTRIED = "not tried"


class Outcome(NamedTuple):
    """What should have been seen, what was seen, and what follows from that."""

    expected: str
    seen: str
    verdict: Verdict
    why: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the table.

    Attributes:
        tried: The subjects.
        why: Beside a verdict that is not `PROVEN`: the reason, or what was let through.
    """

    kind: Kind
    name: str
    title: str
    tried: tuple[str, ...]
    expected: str
    seen: str
    verdict: Verdict
    why: str
