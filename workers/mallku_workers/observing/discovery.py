"""Answers `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS` (NATS ADR-32): one endpoint per operation.

Answers go to inboxes of inspectors alone, be the reply subject as it may: a broker does not hold
what we publish there to the permissions of whoever asked for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any, Final, Protocol

import structlog

from mallku_broker.connection import Listener
from mallku_broker.events import ConnectionLost
from mallku_broker.headers import encode_headers
from mallku_broker.permissions import READ_QUEUE, SERVICE, WRITE_QUEUE
from mallku_contracts.discovery import MAX_QUESTION_BYTES, Question, prove
from mallku_contracts.errors import MessageTooLarge
from mallku_contracts.operations import OPERATIONS, Operation
from mallku_contracts.policy import CompiledPolicy
from mallku_contracts.subjects import (
    INBOX_ROOT,
    NEXT,
    command_pattern,
    cursor_pattern,
    is_own_inbox,
)
from mallku_workers.observing.parts import Parts
from mallku_workers.observing.tally import Tally

MAX_ANSWERS_PER_S: Final = 100
"""Questions that one worker answers in a second; what is beyond gets no answer."""

RETIRE_S: Final = 1.0
"""To leave the subjects of discovery at the end, with a broker that says nothing, seconds."""

DESCRIPTION: Final = "One audited door to Mallku's database: signed commands, executed by workers"
VERBS: Final = ("PING", "INFO", "STATS")

_TYPE: Final = "io.nats.micro.v1."
_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)(.*)")
_INSPECTOR: Final = "inspector"
_log = structlog.get_logger("mallku.discovery")


class Bus(Protocol):
    """What answering needs of a bus connection."""

    async def listen(self, subject: str, listener: Listener, *, queue: str = "") -> Any:
        """Call `listener` for each message."""
        ...

    async def retire(self, subscriptions: Sequence[Any]) -> None:
        """Unsubscribe, and return when everything sent until then was delivered."""
        ...

    def post(self, subject: str, body: bytes, *, reply: str = "", header: bytes = ...) -> None:
        """Hand over one message for sending."""
        ...


class Description:
    """What a worker says of itself; pure but for what its parts say now."""

    def __init__(self, parts: Parts, tally: Tally) -> None:
        self._parts, self._tally = parts, tally
        self._version = semantic(version("mallku-gateway"))

    def answer(self, verb: str) -> dict[str, Any]:
        """The answer to one of the verbs, as ADR-32 has it."""
        return {"PING": self._ping, "INFO": self._info, "STATS": self._stats}[verb]()

    def _ping(self) -> dict[str, Any]:
        return self._said("ping_response")

    def _info(self) -> dict[str, Any]:
        endpoints = [
            _place(operation, self._parts.instance) | {"metadata": _of_operation(operation)}
            for operation in OPERATIONS.values()
        ]
        return self._said("info_response") | {"description": DESCRIPTION, "endpoints": endpoints}

    def _stats(self) -> dict[str, Any]:
        started = datetime.fromtimestamp(self._parts.started_s, UTC).isoformat()
        return self._said("stats_response") | {
            "started": started.replace("+00:00", "Z"),
            "endpoints": [self._endpoint(operation) for operation in OPERATIONS.values()],
            # Beyond the ADR, which lets readers pass over what they do not know.
            "worker": self._state(),
        }

    def _said(self, kind: str) -> dict[str, Any]:
        return {
            "type": _TYPE + kind,
            "name": SERVICE,
            "id": self._parts.instance,
            "version": self._version,
            "metadata": self._metadata(),
        }

    def _metadata(self) -> dict[str, str]:
        parts, identity = self._parts, self._parts.identity
        said = {
            "worker": str(parts.token.get("sub", "")),
            "store": parts.store,
            "durability": parts.durability,
            "policy_version": str(parts.policy_version or ""),
            "http": parts.http,
        }
        if identity is not None:
            said |= {"kid": identity.key.kid, "token": identity.token().decode("ascii")}
        return said

    def _endpoint(self, operation: Operation) -> dict[str, Any]:
        counted = self._tally.endpoints[operation.name]
        return _place(operation, self._parts.instance) | {
            "num_requests": counted.requests,
            "num_errors": counted.errors,
            "last_error": counted.last_error,
            "processing_time": counted.processing_ns,
            "average_processing_time": counted.average_ns,
        }

    def _state(self) -> dict[str, Any]:
        """What ADR-32 has no place for, and `ps` and `health` show."""
        parts, tally = self._parts, self._tally
        trail = parts.trail
        return {
            "pid": os.getpid(),
            "uptime_s": round(time.time() - parts.started_s, 3),
            "requests": tally.requests,
            "errors": tally.errors,
            "in_flight": 0 if parts.slots is None else parts.slots.in_flight,
            "slots": 0 if parts.slots is None else parts.slots.total,
            "turned_away": 0 if parts.slots is None else parts.slots.turned_away,
            "breakers": dict(parts.breakers()),
            "audit": {
                "answers": trail is not None and trail.audit.answers,
                "pending": 0 if trail is None else trail.audit.pending,
                "uncovered": 0 if trail is None else trail.audit.uncovered,
            },
            "cursors": 0 if parts.cursors is None else len(parts.cursors),
            "jobs": parts.jobs,
            "lag_s": round(parts.lag.recent_worst_s, 6),
            "draining": parts.draining,
            "health": parts.health().to_json(),
        }


class Responder:
    """Answers questions on the bus; made and ended by `open_discovery`.

    Args:
        policy: The one in force, which says who the inspectors are.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        bus: Bus,
        parts: Parts,
        description: Description,
        policy: Callable[[], CompiledPolicy],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus, self._parts, self._description = bus, parts, description
        self._policy, self._clock = policy, clock
        self._subscriptions: list[Any] = []
        self._second, self._answered = 0, 0

    async def start(self) -> None:
        """Listen to everybody's questions, those about the service, and those about this worker."""
        for subject in subjects(self._parts.instance):
            self._subscriptions.append(await self._bus.listen(subject, self._receive))

    async def stop(self) -> None:
        """Listen no more."""
        try:
            async with asyncio.timeout(RETIRE_S):
                await self._bus.retire(self._subscriptions)
        except (ConnectionLost, TimeoutError) as lost:
            _log.info("discovery_not_retired", reason=str(lost) or type(lost).__name__)

    def _receive(self, subject: str, reply: str, body: bytes, _header: bytes | None) -> None:
        identity = self._parts.identity
        if identity is None or len(body) > MAX_QUESTION_BYTES or not self._may_hear(reply):
            return
        if self._is_flooded():
            return
        verb = subject.split(".", 2)[1]
        answer = json.dumps(self._description.answer(verb), separators=(",", ":")).encode()
        headers = prove(Question(subject, body), answer, identity.key, identity.token())
        try:
            self._bus.post(reply, answer, header=encode_headers(headers))
        except (ConnectionLost, MessageTooLarge) as lost:
            _log.info("discovery_not_answered", verb=verb, reason=str(lost))

    def _may_hear(self, reply: str) -> bool:
        """Whether the reply goes to an inspector's own inbox; nobody else may ask."""
        name = reply.removeprefix(f"{INBOX_ROOT}.").partition(".")[0]
        principal = self._policy().policy.principals.get(name)
        return principal is not None and principal.kind == _INSPECTOR and is_own_inbox(reply, name)

    def _is_flooded(self) -> bool:
        second = int(self._clock())
        if second != self._second:
            self._second, self._answered = second, 0
        self._answered += 1
        return self._answered > MAX_ANSWERS_PER_S


def subjects(instance: str) -> Iterator[str]:
    """What a worker listens to, to be found."""
    for verb in VERBS:
        yield f"$SRV.{verb}"
        yield f"$SRV.{verb}.{SERVICE}"
        yield f"$SRV.{verb}.{SERVICE}.{instance}"


def semantic(text: str) -> str:
    """A version as Semantic Versioning 2.0 spells it: what follows three numbers stands behind `-`.

    What has no three numbers is `0.0.0`, as ADR-32 asks for some version.
    """
    found = _VERSION.fullmatch(text)
    if found is None:
        return "0.0.0"
    rest = ".".join(re.findall(r"[A-Za-z]+|[1-9]\d*|0", found[4]))
    release = ".".join(str(int(number)) for number in found.groups()[:3])
    return f"{release}-{rest}" if rest else release


def _place(operation: Operation, instance: str) -> dict[str, Any]:
    """Where commands of an operation come in; the pages of a cursor come to its worker alone."""
    if operation.name == NEXT:
        return {"name": NEXT, "subject": cursor_pattern(instance), "queue_group": ""}
    return {
        "name": operation.name,
        "subject": command_pattern(operation.name),
        "queue_group": WRITE_QUEUE if operation.mutates else READ_QUEUE,
    }


@cache
def _of_operation(operation: Operation) -> dict[str, str]:
    return {
        "access": operation.access.value,
        "scope": operation.scope.value,
        "summary": operation.summary,
        "schema": json.dumps(operation.arguments.model_json_schema(), separators=(",", ":")),
    }
