"""Trying one thing on one connection, and hearing what the server says to it."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from mallku_broker.connection import GatewayConnection, connect
from mallku_broker.events import ConnectionEvent, ConnectionLost, EventKind
from mallku_deploy.doctor.attempts import (
    IMPOSSIBLE,
    POISON,
    Attempt,
    Call,
    Probe,
    Publish,
)
from mallku_deploy.doctor.roles import Role

ANSWER_S: Final = 3.0
"""How long the server may take for an answer or a round trip, seconds."""

SILENCE_S: Final = 0.25
"""How long an answer that must not come is waited for, seconds: the server hands its own messages
over on another thread, and nothing says that there is none."""

_VIOLATION = re.compile(
    r'violation for (publish|subscription) to "([^"]*)"(?: using queue "([^"]*)")?', re.IGNORECASE
)


class CannotTell(Exception):
    """Something else went wrong, so that nothing follows from what was seen; says what."""


class Refusal(NamedTuple):
    """What the server refused, in lower case, as the library has it."""

    what: str
    subject: str
    queue: str


class Refusals:
    """Remembers what the server refuses on one connection."""

    def __init__(self) -> None:
        self.seen: Counter[Refusal] = Counter()

    def __call__(self, event: ConnectionEvent) -> None:
        """To be given to a connection as `on_event`."""
        if event.kind is EventKind.REFUSED and (match := _VIOLATION.search(event.detail)):
            what, subject, queue = match.groups()
            self.seen[Refusal(what.lower(), subject.lower(), (queue or "").lower())] += 1


@dataclass(frozen=True, slots=True)
class Line:
    """An open connection in somebody's name."""

    role: Role
    connection: GatewayConnection
    refusals: Refusals


class Answer(NamedTuple):
    """What came to an inbox of our own."""

    body: bytes
    header: bytes | None


async def open_line(role: Role) -> Line:
    """Connect with somebody's credentials.

    Raises:
        ConfigurationError: a file cannot be used, or the server refuses them.
        GatewayUnreachable: the server does not answer.
    """
    refusals = Refusals()
    connection = await connect(
        role.settings,
        name=f"mallku-gateway.doctor.{role.name}",
        inbox_prefix=role.inbox,
        on_event=refusals,
    )
    return Line(role, connection, refusals)


async def try_probe(line: Line, probe: Probe) -> list[Attempt]:
    """Make all attempts of a probe at once; returns those that the server let through.

    Raises:
        CannotTell: the connection broke.
    """
    line.refusals.seen.clear()
    subscriptions = []
    try:
        for attempt in probe.attempts:
            if isinstance(attempt, Publish):
                line.connection.post(attempt.subject, POISON, header=IMPOSSIBLE)
            else:
                subscriptions.append(
                    await line.connection.listen(attempt.subject, _ignore, queue=attempt.queue)
                )
        await settle(line)
        for subscription in subscriptions:
            await line.connection.unlisten(subscription)
    except ConnectionLost as error:
        raise CannotTell(error.message) from None
    asked = Counter(map(_refusal_of, probe.attempts))
    refused = {key for key, times in asked.items() if line.refusals.seen[key] >= times}
    return [attempt for attempt in probe.attempts if _refusal_of(attempt) not in refused]


async def try_responses(line: Line, asker: Line, subject: str, replies: Sequence[str]) -> list[str]:
    """Be asked with these reply subjects, and answer; returns those that the server let through.

    Whoever has `allow_responses` may publish wherever somebody asks for the answer, and nowhere
    else: it shows only this way.

    Raises:
        CannotTell: the questions did not come, or a connection broke.
    """
    heard: list[str] = []
    done = asyncio.Event()

    def listener(_subject: str, reply: str, _body: bytes, _header: bytes | None) -> None:
        heard.append(reply)
        if len(heard) == len(replies):
            done.set()

    try:
        subscription = await line.connection.listen(subject, listener)
        try:
            await settle(line)
            for reply in replies:
                asker.connection.post(subject, b"", reply=reply)
            async with asyncio.timeout(ANSWER_S):
                await done.wait()
            return [str(each) for each in await try_probe(line, Probe("", _publishes(heard)))]
        finally:
            await line.connection.unlisten(subscription)
    except TimeoutError:
        raise CannotTell(f"{subject}: no question came within {ANSWER_S:g} s") from None
    except ConnectionLost as error:
        raise CannotTell(error.message) from None


async def settle(line: Line) -> None:
    """Return when the server has dealt with everything sent so far; errors came before its PONG.

    Raises:
        CannotTell: it does not answer.
    """
    try:
        async with asyncio.timeout(ANSWER_S):
            await line.connection.flush()
    except TimeoutError:
        raise CannotTell(f"no round trip within {ANSWER_S:g} s") from None


async def ask(line: Line, call: Call, *, within_s: float = ANSWER_S) -> Answer:
    """A request with an inbox of its own; whatever comes there first is the answer.

    Records that are pulled keep their own subject, which a library's request would not recognise.

    Raises:
        CannotTell: nothing came, or the server refused.
    """
    heard: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def listener(_subject: str, _reply: str, body: bytes, header: bytes | None) -> None:
        if not heard.done():
            heard.set_result(Answer(body, header))

    inbox = own_inbox(line)
    try:
        subscription = await line.connection.listen(inbox, listener)
        line.connection.post(call.subject, call.body, reply=inbox, header=call.header)
        try:
            async with asyncio.timeout(within_s):
                return await heard
        finally:
            await line.connection.unlisten(subscription)
    except TimeoutError:
        raise CannotTell(f"{call.subject}: {_silence(line, call, within_s)}") from None
    except ConnectionLost as error:
        raise CannotTell(error.message) from None


async def ask_in_vain(line: Line, call: Call) -> None:
    """Ask, and give the server `SILENCE_S` for an answer that should not come.

    It deals with the messages of one connection in their order. Where it does answer, the answers
    to all former messages came before this one; where it does not, they had as long as this one.

    Raises:
        CannotTell: the connection broke, or the server does not take the message.
    """
    try:
        await ask(line, call, within_s=SILENCE_S)
    except CannotTell:
        await settle(line)
        if line.refusals.seen[_refusal_of(Publish(call.subject))]:
            raise


def own_inbox(line: Line) -> str:
    """A subject that this connection may listen to and nobody has used."""
    return f"{line.connection.inbox_prefix}.{secrets.token_hex(12)}.1"


def _silence(line: Line, call: Call, within_s: float) -> str:
    if line.refusals.seen[_refusal_of(Publish(call.subject))]:
        return "the server refuses it"
    return f"no answer within {within_s:g} s"


def _publishes(subjects: Sequence[str]) -> tuple[Attempt, ...]:
    return tuple(map(Publish, subjects))


def _refusal_of(attempt: Attempt) -> Refusal:
    if isinstance(attempt, Publish):
        return Refusal("publish", attempt.subject.lower(), "")
    return Refusal("subscription", attempt.subject.lower(), attempt.queue.lower())


def _ignore(_subject: str, _reply: str, _body: bytes, _header: bytes | None) -> None:
    """What comes is none of our business."""
