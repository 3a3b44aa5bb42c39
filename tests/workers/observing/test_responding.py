"""Who is told of a worker, and what: the answers themselves `nats micro` checks elsewhere."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from mallku_broker.permissions import worker_bus
from mallku_contracts.discovery import MAX_QUESTION_BYTES, Question, believe
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.policy import CompiledPolicy, read_policy
from mallku_workers.governance import Governor
from mallku_workers.observing.discovery import (
    MAX_ANSWERS_PER_S,
    Description,
    Responder,
    semantic,
    subjects,
)
from mallku_workers.observing.parts import Parts
from mallku_workers.observing.tally import CollectionClasses, Tally
from mallku_workers.replies import WorkerIdentity
from tests.support.simulated_bus import SimulatedBus
from tests.support.simulated_caller import SimulatedCaller
from tests.workers.world import REPLY_TOKEN, TRUST, WORKER_KEY, Cluster, Worker

POLICY = CompiledPolicy(
    read_policy(
        """
version: 4
roles: {service: {rules: [{id: all, collections: ["*"], operations: [read, write]}]}}
principals:
  mallku: {roles: [service]}
  inspector: {kind: inspector}
  auditor: {kind: auditor}
""",
        "policy",
    )
)
MINE = "_INBOX_mallku.inspector.a.b"


@dataclass
class Governed:
    """Stands for a governor, whose policy is in force."""

    policy: CompiledPolicy = POLICY


@dataclass
class Asked:
    """A responder on a simulated bus, and a clock that stands still."""

    bus: SimulatedBus
    responder: Responder
    tally: Tally
    parts: Parts
    now_s: float = 0.0

    def ask(self, subject: str, reply: str = MINE, body: bytes = b"") -> Any:
        """Ask, and return what was answered: the body read, or None."""
        before = len(self.bus.posts)
        for subscription in self.bus.subscriptions:
            if subscription.subject == subject:
                subscription.listener(subject, reply, body, None)
        posts = self.bus.posts[before:]
        assert len(posts) <= 1
        return json.loads(posts[0].body) if posts else None


@pytest.fixture
async def asked() -> Asked:
    """A worker that has started."""
    bus = SimulatedBus()
    parts = Parts(
        "abc123",
        30_000.0,
        stage="",
        store="embedded",
        identity=WorkerIdentity("abc123", WORKER_KEY, lambda: REPLY_TOKEN),
        governor=cast("Governor", Governed()),
    )
    tally = Tally(CollectionClasses(lambda: POLICY))
    made: list[Asked] = []
    description = Description(parts, tally)
    responder = Responder(bus, parts, description, lambda: POLICY, lambda: made[0].now_s)
    made.append(Asked(bus, responder, tally, parts))
    await responder.start()
    return made[0]


def test_what_is_listened_to_is_permitted() -> None:
    """The broker lets a worker listen to every subject that it is found by, and to no more."""
    allowed = set(worker_bus().subscribe)
    for subject in subjects("abc123"):
        assert {subject, subject.replace("abc123", "*")} & allowed


@pytest.mark.parametrize("where", ["", ".mallku-gateway", ".mallku-gateway.abc123"])
@pytest.mark.parametrize("verb", ["PING", "INFO", "STATS"])
async def test_each_question_is_answered(asked: Asked, verb: str, where: str) -> None:
    """Asked of all, of the service or of this worker: the type, and who it is, fit the verb."""
    said = asked.ask(f"$SRV.{verb}{where}")
    assert said["type"] == f"io.nats.micro.v1.{verb.lower()}_response"
    assert (said["name"], said["id"]) == ("mallku-gateway", "abc123")
    assert said["metadata"]["worker"] == "worker-1"
    assert said["metadata"]["policy_version"] == "4"
    assert all(isinstance(value, str) for value in said["metadata"].values())


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "$JS.API.STREAM.DELETE.MALLKU_AUDIT",
        "mallku.v1.audit.mallku.mallku.x.get.done",
        "_INBOX.abc",
        "_INBOX_mallku.mallku.a.b",
        "_INBOX_mallku.auditor.a.b",
        "_INBOX_mallku.nobody.a.b",
        "_INBOX_mallku.inspector",
        "_INBOX_mallku.inspector.",
        "_INBOX_mallku.inspector.a.*",
        "_INBOX_mallku.inspector.>",
        "_INBOX_mallku_worker.x.y",
        "$KV.mallku_policy.current",
    ],
)
async def test_answers_go_to_inspectors_alone(asked: Asked, reply: str) -> None:
    """A reply that is asked for elsewhere is not sent: not to streams, buckets or other inboxes."""
    for verb in ("PING", "INFO", "STATS"):
        assert asked.ask(f"$SRV.{verb}", reply=reply) is None


async def test_an_answer_can_be_believed(asked: Asked) -> None:
    """Its headers prove who gave it, to which question."""
    subject, nonce = "$SRV.STATS.mallku-gateway", b"0123456789abcdef"
    asked.ask(subject, body=nonce)
    post = asked.bus.posts[-1]
    question = Question(subject, nonce)
    now_s = time.time()
    identity = believe(question, post.body, post.headers, TRUST, now_s=now_s, leeway_s=5)
    assert identity.principal == "worker-1"


async def test_a_long_question_is_not_answered(asked: Asked) -> None:
    """What is hashed and signed for somebody who only asks is bounded."""
    assert asked.ask("$SRV.PING", body=b"x" * MAX_QUESTION_BYTES)
    assert asked.ask("$SRV.PING", body=b"x" * (MAX_QUESTION_BYTES + 1)) is None


async def test_a_flood_of_questions_is_cut(asked: Asked) -> None:
    """A hundred answers in a second, and then no more until the next one."""
    answers = [asked.ask("$SRV.PING") for _ in range(MAX_ANSWERS_PER_S + 50)]
    assert sum(answer is not None for answer in answers) == MAX_ANSWERS_PER_S
    asked.now_s = 1.0
    assert asked.ask("$SRV.PING")


async def test_a_bus_that_is_down_harms_nobody(asked: Asked) -> None:
    """What cannot be sent is left; the next question is answered."""
    asked.bus.up = False
    assert asked.ask("$SRV.PING") is None
    asked.bus.up = True
    assert asked.ask("$SRV.PING")


async def test_the_counts_are_real(asked: Asked) -> None:
    """Endpoints have what the pipeline did: requests, errors, the last error, and the time."""
    worker = Worker(Cluster())
    worker.pipeline = replace(worker.pipeline, observer=asked.tally)
    caller = SimulatedCaller.of("mallku", "service")
    for _ in range(3):
        await worker.take(caller.seal("insert", {"document": {"kind": "khipu"}}))
    await worker.take(caller.seal("truncate", {}))
    said = asked.ask("$SRV.STATS")
    endpoints = {each["name"]: each for each in said["endpoints"]}
    assert set(endpoints) == set(OPERATIONS)
    insert, truncate = endpoints["insert"], endpoints["truncate"]
    assert (insert["num_requests"], insert["num_errors"], insert["last_error"]) == (3, 0, "")
    assert insert["average_processing_time"] == insert["processing_time"] // 3 > 0
    assert (truncate["num_requests"], truncate["num_errors"]) == (1, 1)
    assert truncate["last_error"] == "301:permission_denied"
    assert (said["worker"]["requests"], said["worker"]["errors"]) == (4, 1)


async def test_where_operations_are_served(asked: Asked) -> None:
    """Subjects and queue groups are those that the worker listens to; pages come to it alone."""
    endpoints = {each["name"]: each for each in asked.ask("$SRV.INFO")["endpoints"]}
    allowed = set(worker_bus().subscribe)
    for name, each in endpoints.items():
        if name != "next":
            assert f"{each['subject']} {each['queue_group']}" in allowed
        json.loads(each["metadata"]["schema"])
    assert endpoints["next"]["subject"].endswith(".abc123.next")
    assert endpoints["next"]["queue_group"] == ""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("0.1.0", "0.1.0"),
        ("1.2.3.dev4", "1.2.3-dev.4"),
        ("1.2.3rc1", "1.2.3-rc.1"),
        ("1.2.3+local.01", "1.2.3-local.0.1"),
        ("1.2", "0.0.0"),
        ("unknown", "0.0.0"),
    ],
)
def test_versions_are_semantic(given: str, said: str) -> None:
    """Python's versions become what ADR-32 asks for."""
    assert semantic(given) == said
