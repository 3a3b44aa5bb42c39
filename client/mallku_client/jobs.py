"""Durable jobs: `collection.submit.insert(…)` has the gateway keep a command until it is done.

::

    job = await anchors.submit.insert({"kind": "khipu"})  # kept, whatever happens now
    meta = await job.result(timeout=30)

    later = anchors.submit(run_at=datetime(2030, 1, 1, tzinfo=UTC))
    await later.delete("old")
    in_order = anchors.submit(ordering_key="khipu")  # one after the other
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
)

from mallku_client.answers import Answer, read_body
from mallku_client.submitting import Submitted
from mallku_contracts.errors import (
    InvalidArguments,
    JobPending,
    MallkuError,
    UnverifiedReply,
    from_wire,
)

if TYPE_CHECKING:
    from mallku_client.commands import Commands

FIRST_LOOK_S: Final = 0.25
"""Before a job is first asked about, seconds; its reply mostly comes by itself before."""

MAX_LOOK_S: Final = 5.0
"""Between two questions about a job at most, seconds."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JobOptions:
    """When a job is done, and for how long.

    Attributes:
        run_at: Not before this time; at once without it.
        ordering_key: Jobs of this principal with the same key are done one after the other, in the
            order in which they were kept.
        expires_in: The job is not begun any more after so long; at most 7 days.
        attempt_timeout: How long each try of it may take; at most 60 s.
    """

    run_at: datetime | None = None
    ordering_key: str | None = None
    expires_in: timedelta = timedelta(days=1)
    attempt_timeout: timedelta = timedelta(seconds=30)


class JobKeywords(TypedDict, total=False):
    """`JobOptions` as keyword arguments; what is not given is as there."""

    run_at: datetime | None
    ordering_key: str | None
    expires_in: timedelta
    attempt_timeout: timedelta


def job_terms(**terms: Unpack[JobKeywords]) -> JobOptions:
    """Checked terms.

    Raises:
        InvalidArguments: `run_at` has no time zone, or both of it and an ordering key are given.
    """
    options = JobOptions(**terms)
    if options.run_at is not None and options.run_at.tzinfo is None:
        raise InvalidArguments("run_at: a time without a time zone; say which")
    if options.run_at is not None and options.ordering_key:
        raise InvalidArguments("run_at and ordering_key: a job has a time or an order, not both")
    return options


@dataclass(frozen=True, slots=True)
class JobReceipt:
    """Where a job is kept: `stream` and `sequence`, and the server's `time` (RFC 3339)."""

    stream: str
    sequence: int
    time: str


class Job(Generic[T]):
    """A command that the gateway keeps until it is done.

    Attributes:
        id: Of the transmission that was confirmed; empty where only the key is known.
        idempotency_key: Under which `outcome` knows it, in any process of this principal.
        receipt: That it is kept; None where only the key is known.
    """

    def __init__(
        self,
        commands: Commands,
        idempotency_key: str,
        submitted: Submitted | None = None,
        finish: Callable[[Answer], Coroutine[Any, Any, T]] | None = None,
    ) -> None:
        self.idempotency_key = idempotency_key
        self.id = submitted.id if submitted else ""
        stored = submitted.stored if submitted else None
        self.receipt = stored and JobReceipt(stored.stream, stored.sequence, stored.time)
        self._commands = commands
        self._submitted = submitted
        # The same key may have been used before, by a job that failed: ids are in order of time.
        self._first = min(submitted.hashes) if submitted else ""
        self._finish = finish
        self._answer: Answer | None = None

    def __repr__(self) -> str:
        return f"<Job {self.idempotency_key}>"

    async def result(self, timeout: float | None = None) -> T:  # noqa: ASYNC109  # as in calls
        """What the operation answers, when it is done; may be asked again.

        Args:
            timeout: How long to wait, seconds; the client's setting by default.

        Raises:
            JobPending: it is not done yet.
            MallkuError: why it was not done, and will not be by itself.
        """
        answer = await self.answer(timeout)
        if self._finish is None:
            return cast("T", answer.result)
        return await self._finish(answer)

    async def answer(self, timeout: float | None = None) -> Answer:  # noqa: ASYNC109  # as above
        """Everything that the reply says; arguments and errors as of `result`."""
        if self._answer is None:
            timeout_s = self._commands.timeout_s if timeout is None else timeout
            self._answer = await self._wait(monotonic() + timeout_s, timeout_s)
        return self._answer

    async def _wait(self, end_s: float, timeout_s: float) -> Answer:
        look_s = FIRST_LOOK_S
        while (left_s := end_s - monotonic()) > 0:
            data = await self._listen(min(look_s, left_s))
            found = self._believed(data) if data is not None else None
            if found is None:
                found = await self._ask(end_s)
            if found is not None:
                return found
            look_s = min(look_s * 2, MAX_LOOK_S)
        raise JobPending(
            f"the job is not done within {timeout_s:g} s; it is kept, ask again",
            details={"idempotency_key": self.idempotency_key},
        )

    async def _listen(self, wait_s: float) -> bytes | None:
        """A reply that comes to this process within a while, not yet believed."""
        submitted = self._submitted
        if submitted is None or (submitted.reply.done() and submitted.reply.cancelled()):
            await asyncio.sleep(wait_s)
            return None
        try:
            async with asyncio.timeout(wait_s):
                return await asyncio.shield(submitted.reply)
        except TimeoutError:
            return None

    def _believed(self, data: bytes) -> Answer | None:
        """What a reply says that a trusted worker signed for this job; None for any other."""
        if self._submitted is None:
            return None
        try:
            body = self._commands.jobs.believe(self._submitted, data)
        except UnverifiedReply:
            self._submitted = None  # what is sent to inboxes is no help here
            return None
        return self._read(body, data)

    async def _ask(self, end_s: float) -> Answer | None:
        """What `outcome` knows by now."""
        timeout_s = max(end_s - monotonic(), FIRST_LOOK_S)
        arguments = {"idempotency_key": self.idempotency_key}
        try:
            said = await self._commands.send("outcome", None, arguments, timeout=timeout_s)
        except MallkuError as error:
            if not error.retryable:
                raise
            return None
        outcome = said.result
        match outcome["state"]:
            case "failed" if (outcome["id"] or self._first) >= self._first:
                raise from_wire(outcome["error"])
            case "done":
                whole = self._believed(outcome["reply"]) if "reply" in outcome else None
                return whole or Answer(outcome["result"], outcome["id"] or "", self.idempotency_key)
            case _:
                return None

    def _read(self, body: bytes, data: bytes) -> Answer:
        content = read_body(body)
        if isinstance(content, MallkuError):
            raise content
        return Answer(
            content["result"],
            self.id,
            self.idempotency_key,
            content.get("receipt"),
            content.get("replayed", False),
            reply=data if content.get("receipt") else b"",
        )
