"""A worker's real pipeline over simulators, at a time that stands still, and what must hold of it.

Steps 1 to 5 are the worker's own. Nothing is remembered from one message to the next, so that no
message is refused as a replay that would have been accepted for what it is.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any, Final

from structlog.testing import capture_logs

from mallku_contracts import codec
from mallku_contracts.dpop import Asked, Evidence, Proof, make_proof
from mallku_contracts.envelope import Envelope, seal_command
from mallku_contracts.errors import BY_CODE, InternalError
from mallku_contracts.identifiers import uuid7
from mallku_contracts.keys import SigningKey
from mallku_contracts.limits import MAX_PAYLOAD_BYTES
from mallku_contracts.operations import OPERATIONS, Scope
from mallku_contracts.policy import CompiledPolicy, read_policy
from mallku_contracts.subjects import NEXT, CommandSubject
from mallku_contracts.tokens import COMMAND_AUDIENCE, Identity, issue_token
from mallku_workers.execution import Bulkheads, Executor
from mallku_workers.identity import Identifier, SeenIds
from mallku_workers.message import Message
from mallku_workers.stores.base import Work
from mallku_workers.throttle import Refusals, Throttle
from tests.support.simulated_caller import ISSUER, ISSUER_KEY, Sent, SimulatedCaller
from tests.workers.world import SKEW_MS, Cluster, Trusted, Worker

NOW_MS: Final = 2_000_000_000_000
"""The time of every message, Unix milliseconds: later than any clock that a test runs by."""

WORKER: Final = "w1"
"""The instance that takes the messages."""

SUBJECT_END: Final = b"\n"
"""Stands between subject, reply subject and data in the bytes of one message."""

_SECOND_NS: Final = 1_000_000_000
_S: Final = 1_000

POLICY: Final = CompiledPolicy(
    read_policy("""
version: 3
roles:
  service:
    rules:
      - {id: all, collections: ["*"], operations: [read, write, admin], grants: [DOCUMENT]}
    limits: {rate_per_s: 100000, burst: 100000}
  carrying:
    rules:
      - {id: all, collections: ["*"], operations: [read, write, admin], grants: [DOCUMENT]}
  ruled:
    rules:
      - id: own
        collections: [memory_anchors, "fc_*"]
        operations: [read, write]
        where: {owner: $principal, meta.closed: {"!=": true}, until: {">": $now}}
        set: {owner: $principal, changed: $now}
        hide: [secret, meta.token]
        max_affected: 100
principals:
  mallku: {roles: [service]}
  ruled: {roles: [ruled]}
  door:
    kind: door
    roles: [carrying]
    acts_for: [mallku, ruled]
    origins: {"http://door.example": mallku}
queries:
  heavy:
    text: FOR a IN memory_anchors FILTER a.weight > @weight RETURN a
    parameters: [weight]
    roles: [ruled]
""")
)


def _caller(principal: str, *roles: str) -> SimulatedCaller:
    key = SigningKey(principal.encode().ljust(32, b"."))
    identity = Identity(
        issuer=ISSUER,
        audience=COMMAND_AUDIENCE,
        principal=principal,
        roles=frozenset(roles),
        issued_at=NOW_MS // _S - 60,
        expires_at=NOW_MS // _S + 3_540,
        token_id="fuzz",
        key=key.public,
    )
    return SimulatedCaller(principal, key, issue_token(identity, ISSUER_KEY).encode())


CALLERS: Final = (_caller("mallku", "service"), _caller("ruled", "ruled"))
DOOR: Final = _caller("door", "carrying")


def seal(caller: SimulatedCaller, operation: str, body: object, **header: Any) -> Sent:
    """Sign one command at the time that stands still."""
    where = None if OPERATIONS[operation].scope is Scope.DATABASE else "memory_anchors"
    times: dict[str, Any] = {"iat": NOW_MS, "exp": NOW_MS + 30_000, "id": uuid7(NOW_MS, 1)}
    sent = caller.seal(operation, body, where, **(times | header))
    if operation != NEXT:
        return sent
    subject = CommandSubject.of_cursor(caller.principal, caller.database, WORKER)
    data = seal_command(subject, sent.header, sent.body, caller.key, caller.token)
    return replace(sent, subject=subject, data=data)


def seal_carried(caller: SimulatedCaller, operation: str, body: object) -> Sent:
    """Sign one command of `caller` as a door does, under a proof that covers all of it.

    What is no JSON, and a body that is bytes, is under a proof that does not hold for it.
    """
    where = None if OPERATIONS[operation].scope is Scope.DATABASE else "memory_anchors"
    subject = CommandSubject.build(caller.principal, caller.database, where, operation)
    arguments = body if isinstance(body, dict) else {}
    asked = Asked(operation, caller.database, subject.collection, arguments)
    text = make_proof(
        caller.key,
        caller.token,
        method="POST",
        url="http://door.example/api/v1/commands",
        now_s=NOW_MS // _S,
        token_id="fuzz",
        command=asked.digest(),
    )
    proof = Proof.verify(text, token=caller.token, key=caller.key.public)
    evidence = Evidence(DOOR.token, caller.token, text).join()
    first = {"id": proof.command_id(1), "idem": proof.command_id(1)}
    return seal(SimulatedCaller(caller.principal, DOOR.key, evidence), operation, body, **first)


def message_bytes(subject: str, reply: str, data: bytes) -> bytes:
    """One message as the fuzzers keep it."""
    return SUBJECT_END.join((subject.encode(), reply.encode(), data))


@dataclass(frozen=True)
class Handled:
    """What became of one message.

    Attributes:
        accepted: The command reached the trail or the store, or was answered with a result.
        works: What the store was asked to do.
        answer: What the reply says; None where there was no reply.
    """

    accepted: bool
    works: tuple[Work, ...]
    answer: Mapping[str, Any] | None


class Gateway:
    """Takes messages one after another, and refuses to be surprised."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._seconds = itertools.count(0, _SECOND_NS).__next__
        self._runner.run(self._build())

    async def _build(self) -> None:
        self._cluster = Cluster()
        self._worker = worker = Worker(self._cluster, WORKER)
        self.pipeline = replace(
            worker.pipeline,
            identifier=Identifier(Trusted(), POLICY.is_revoked, max_tokens=100, skew_ms=SKEW_MS),
            seen=SeenIds(0),
            policy=lambda: POLICY,
            refusals=Refusals(1_000_000, self._seconds),
            throttle=Throttle(self._seconds),
            executor=Executor(
                self._cluster.store,
                worker.breakers,
                worker.cursors,
                Bulkheads(16, 16),
                clock=lambda: NOW_MS,
            ),
        )

    def close(self) -> None:
        """End what is under way."""
        self._runner.close()

    def take(self, subject: str, reply: str, data: bytes) -> Handled:
        """Have one message handled.

        Raises:
            AssertionError: something else than a coded refusal or a result came of it, or it was
                answered where it must not be.
        """
        self._forget()
        message = Message(subject, reply, data, NOW_MS, time.monotonic())
        with capture_logs([_with_its_frames]) as said:
            self._runner.get_loop().run_until_complete(self.pipeline.handle(message))
        for event in said:
            if event["event"] == "unexpected":
                error = event["exc_info"].with_traceback(event["frames"])
                raise AssertionError("not a coded error") from error
        answer = self._answer(message)
        works = tuple(self._cluster.store.works)
        touched = bool(
            works or self._cluster.store.recalls or "intent" in self._cluster.trail.tries
        )
        return Handled(touched or (answer is not None and "result" in answer), works, answer)

    def _forget(self) -> None:
        store, trail = self._cluster.store, self._cluster.trail
        self._worker.bus.posts.clear()
        trail.stream.clear()
        trail.tries.clear()
        store.works.clear()
        store.documents.clear()
        store.ledger.clear()
        store.recalls = 0

    def _answer(self, message: Message) -> Mapping[str, Any] | None:
        posts = self._worker.bus.posts
        tokens = message.subject.split(".")
        principal = tokens[3] if len(tokens) > 3 else ""
        for post in posts:
            assert post.subject == message.reply, "answered elsewhere"
            own = f"_INBOX_mallku.{principal}."
            assert principal.replace("-", "").replace("_", "").isalnum(), "an inbox of nobody"
            assert post.subject.startswith(own), "answered in a foreign inbox"
            assert not set(post.subject[len(own) :]) & set("*> \t\r\n\0"), "answered to a pattern"
        assert len(posts) <= 1, "answered twice"
        return _readable(posts[0].body) if posts else None


def _readable(reply: bytes) -> Mapping[str, Any]:
    envelope = Envelope.split(reply, max_bytes=MAX_PAYLOAD_BYTES)
    answer: Mapping[str, Any] = codec.unpack(envelope.body, allow_bytes=True)
    if "error" in answer:
        code = answer["error"]["code"]
        assert code in BY_CODE, f"{code} is no code"
        assert code != InternalError.code, "an error without a code of its own"
    else:
        assert "result" in answer, "neither an error nor a result"
    return answer


def _with_its_frames(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Keep where an error came from: the pipeline parts it from that once it was logged."""
    error = event.get("exc_info")
    if isinstance(error, BaseException):
        event["frames"] = error.__traceback__
    return event
