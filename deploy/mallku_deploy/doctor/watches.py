"""Looking where an answer must not arrive, so that its absence means something.

Each watch first shows that it would see: the subject belongs to the stream (its refusal of an
impossible message names it), the listener hears what others may send there, and the same trick
works where the accounts do not forbid it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from nats.aio.subscription import Subscription

from mallku_broker.events import ConnectionLost
from mallku_broker.headers import encode_headers
from mallku_broker.streams import AUDIT, AUDIT_STREAMS
from mallku_deploy.doctor.attempts import (
    IMPOSSIBLE,
    NOT_EXPECTED,
    Call,
    Executed,
    Heard,
    Kind,
    Stored,
    Target,
)
from mallku_deploy.doctor.diversions import own_question, pull, scratch_consumer
from mallku_deploy.doctor.lists import API
from mallku_deploy.doctor.tries import (
    ANSWER_S,
    SILENCE_S,
    CannotTell,
    Line,
    ask,
    own_inbox,
    settle,
)

LOOK_S: Final = 0.02
"""Between two looks, seconds."""

_NO_MESSAGE: Final = 10037
_NO_CONSUMER: Final = 10014
_PURGE: Final = encode_headers({"KV-Operation": "PURGE", "Nats-Rollup": "sub"})

FindLine = Callable[[str], Awaitable[Line]]
"""The connection of a principal, or one of a kind; raises `CannotTell` where there is none."""


class Watch(Protocol):
    """Sees whether something arrives at a target."""

    async def begin(self) -> None:
        """Be ready to see; raises `CannotTell`."""
        ...

    async def arrived(self) -> bool:
        """Whether anything came; raises `CannotTell`."""
        ...

    async def end(self) -> None:
        """Leave nothing behind."""
        ...


def watch(target: Target, find: FindLine) -> Watch:
    """What sees whether something arrives at this target."""
    match target:
        case Stored():
            return StreamWatch(target, find)
        case Heard():
            return ListenerWatch(target, find)
        case Executed():
            return ConsumerWatch(target, find)


class StreamWatch:
    """Sees whether a stream keeps a message of a subject."""

    def __init__(self, target: Stored, find: FindLine) -> None:
        self._target = target
        self._stream = target.stream
        self._find = find
        self._found = False

    async def begin(self) -> None:
        """The subject is the stream's, and nothing lies there yet."""
        line = await self._find(self._target.by)
        answer = await ask(line, Call(self._target.subject, b"", IMPOSSIBLE))
        said = _read(answer.body)
        if self._target.stream == AUDIT and said.get("stream") in AUDIT_STREAMS:
            self._stream = str(said["stream"])  # where the trail goes on now
        if (said.get("stream"), _error(said)) != (self._stream, NOT_EXPECTED):
            raise CannotTell(f"{self._target.subject} is not kept by {self._target.stream}")
        if await self._look(line):
            raise CannotTell(f"{self._target.subject} is taken")

    async def arrived(self) -> bool:
        """Look until something is there, for `SILENCE_S` at most."""
        line, clock = await self._find(self._target.by), asyncio.get_running_loop().time
        end = clock() + SILENCE_S
        while not (self._found or clock() > end):
            self._found = await self._look(line)
            await asyncio.sleep(LOOK_S)
        return self._found

    async def end(self) -> None:
        """Purge the key of a bucket; what a stream of the trail keeps, it keeps."""
        if self._found and self._target.subject.startswith("$KV."):
            line = await self._find(self._target.by)
            await ask(line, Call(self._target.subject, b"", _PURGE))

    async def _look(self, line: Line) -> bool:
        body = json.dumps({"last_by_subj": self._target.subject}).encode()
        call = f"{API}.STREAM.MSG.GET.{self._stream}"
        said = _read((await ask(line, Call(call, body))).body)
        if "error" in said and _error(said) != _NO_MESSAGE:
            raise CannotTell(f"{call}: {said['error'].get('description')}")
        return "error" not in said


class ListenerWatch:
    """Sees whether somebody hears a message."""

    def __init__(self, target: Heard, find: FindLine) -> None:
        self._target = target
        self._find = find
        self._arrived = False
        self._control = ""
        self._controlled = asyncio.Event()
        self._subscriptions: list[Subscription] = []

    async def begin(self) -> None:
        """Listen at the target, and at a place where somebody may reach us."""
        line = await self._find(self._target.by)
        self._control = own_inbox(line)
        listen = line.connection.listen
        try:
            self._subscriptions = [
                await listen(self._target.subject, lambda *_: self._note()),
                await listen(self._control, lambda *_: self._controlled.set()),
            ]
        except ConnectionLost as error:
            raise CannotTell(error.message) from None
        await settle(line)

    async def arrived(self) -> bool:
        """Whether it was heard when a message that was sent later had been."""
        await self._send()
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._controlled.wait()
        except TimeoutError:
            raise CannotTell(f"{self._target.by} does not hear what it should") from None
        return self._arrived

    async def end(self) -> None:
        """Listen no more."""
        line = await self._find(self._target.by)
        for subscription in self._subscriptions:
            await line.connection.unlisten(subscription)

    async def _send(self) -> None:
        """Workers reply to callers; whoever may use JetStream reaches himself by a question."""
        line = await self._find(self._target.by)
        question = own_question(line.role.kind)
        try:
            if question is None:
                (await self._find(Kind.BUS)).connection.post(self._control, b"")
            else:
                line.connection.post(question.subject, b"", reply=self._control)
        except ConnectionLost as error:
            raise CannotTell(error.message) from None

    def _note(self) -> None:
        self._arrived = True


class ConsumerWatch:
    """Sees whether a consumer is deleted that was made for the purpose."""

    def __init__(self, target: Executed, find: FindLine) -> None:
        self._target = target
        self._find = find
        self._names = [target.consumer, f"{target.consumer}-control", f"{target.consumer}-source"]

    async def begin(self) -> None:
        """Make it, another one, and a third that has nothing to give."""
        line = await self._find(Kind.ADMINISTRATOR)
        for name in self._names:
            said = _read((await ask(line, scratch_consumer(self._target.stream, name))).body)
            if "error" in said:
                raise CannotTell(f"no consumer could be made: {said['error'].get('description')}")

    async def arrived(self) -> bool:
        """Whether it is gone, once the other one is by the same trick."""
        line = await self._find(Kind.ADMINISTRATOR)
        _, control, source = self._names
        trick = Executed(self._target.stream, control).subject
        empty = pull(self._target.stream, source)
        line.connection.post(empty.subject, empty.body, reply=trick)
        try:
            async with asyncio.timeout(ANSWER_S):
                while not await self._gone(line, control):  # noqa: ASYNC110 - the server's
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise CannotTell("the trick does not work where it could") from None
        return await self._gone(line, self._target.consumer)

    async def end(self) -> None:
        """Delete what is left of them."""
        line = await self._find(Kind.ADMINISTRATOR)
        for name in self._names:
            await ask(line, Call(Executed(self._target.stream, name).subject))

    async def _gone(self, line: Line, consumer: str) -> bool:
        call = f"{API}.CONSUMER.INFO.{self._target.stream}.{consumer}"
        return _error(_read((await ask(line, Call(call))).body)) == _NO_CONSUMER


def _read(body: bytes) -> dict[str, Any]:
    try:
        said: Any = json.loads(body or b"{}")
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise CannotTell("the server's answer is not JSON")
    return said


def _error(said: dict[str, Any]) -> int:
    return int(said.get("error", {}).get("err_code", 0))
