"""Queries and their pages through a whole pipeline on a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mallku_contracts.errors import CursorLost
from mallku_contracts.policy import CompiledPolicy, read_policy
from mallku_workers.authorization import Authorizer
from mallku_workers.execution import Bulkheads, Executor
from mallku_workers.message import unix_ms
from mallku_workers.queries.authorize import QueryAuthorizer
from mallku_workers.queries.cursors import MAX_HELD
from mallku_workers.stores.embedded import EmbeddedStore
from tests.support.simulated_caller import SimulatedCaller
from tests.workers.test_query_authorization import COMPILED, POLICY
from tests.workers.world import Worker


@dataclass
class Gateway:
    """A worker on an embedded store, under the policy above."""

    worker: Worker
    store: EmbeddedStore

    async def take(self, principal: str, text: str, **arguments: Any) -> Any:
        """What is answered to a query."""
        caller = caller_of(principal)
        return (await self.worker.take(caller.seal("aql", {"query": text, **arguments}, None))).body


def caller_of(principal: str) -> SimulatedCaller:
    """A caller with the roles that the policy gives."""
    return SimulatedCaller.of(principal, *COMPILED.policy.principals[principal].roles)


@pytest.fixture
async def gateway(worker: Worker, tmp_path: Path) -> AsyncIterator[Gateway]:
    """People who know each other, and one who knows a diary that is nobody's to read."""
    everything = CompiledPolicy(
        read_policy(
            "version: 6\nroles:\n  r:\n    rules: [{id: a, collections: ['*'],"
            " operations: [read, write, admin]}]\nprincipals:\n  mallku: {roles: [r]}\n"
        )
    )
    store = EmbeddedStore(tmp_path / "store")
    await store.start()
    worker.pipeline = replace(
        worker.pipeline,
        executor=Executor(store, worker.breakers, worker.cursors, Bulkheads(16, 16), clock=unix_ms),
        authorizer=Authorizer(QueryAuthorizer(store.collections_of)),
        policy=lambda: everything,
    )
    caller = SimulatedCaller.of("mallku", "r")
    setting_up: list[tuple[str, str | None, dict[str, Any]]] = [
        ("create-collection", "people", {}),
        ("create-collection", "diaries", {}),
        ("create-collection", "notes", {}),
        ("create-collection", "knows", {"edge": True}),
        ("insert-many", "people", {"documents": [{"_key": k} for k in "abc"]}),
        ("insert", "diaries", {"document": {"_key": "d", "text": "private"}}),
        ("insert-many", "notes", {"documents": [{"_key": f"{n:02}", "n": n} for n in range(20)]}),
    ]
    edges = [("people/a", "diaries/d"), ("people/a", "people/b"), ("diaries/d", "people/c")]
    documents = [{"_from": begin, "_to": end} for begin, end in edges]
    setting_up.append(("insert-many", "knows", {"documents": documents}))
    for operation, collection, arguments in setting_up:
        (await worker.take(caller.seal(operation, arguments, collection))).result  # noqa: B018 - raises
    worker.pipeline = replace(worker.pipeline, policy=lambda: COMPILED)
    yield Gateway(worker, store)
    await store.stop()


async def test_vertices_of_unreadable_collections_come_back_null(gateway: Gateway) -> None:
    """A traversal passes through them, and shows nothing of them; the reader sees them."""
    text = (
        "FOR v, e IN 1..2 OUTBOUND 'people/a' knows SORT e._to"
        " RETURN {text: v.text, id: v._id, to: e._to}"
    )
    everything = {"to": "diaries/d", "id": "diaries/d", "text": "private"}
    body = await gateway.take("wanderer", text)
    assert everything in body["result"]["result"]
    narrow = POLICY.replace('id: all, collections: ["*"]', "id: all, collections: [people, knows]")
    assert narrow != POLICY
    policy = CompiledPolicy(read_policy(narrow))
    gateway.worker.pipeline = replace(gateway.worker.pipeline, policy=lambda: policy)
    body = await gateway.take("wanderer", text)
    assert body["result"]["result"] == [
        {"text": None, "id": None, "to": "diaries/d"},
        {"text": None, "id": "people/b", "to": "people/b"},
        {"text": None, "id": "people/c", "to": "people/c"},
    ]


async def test_a_refused_query_leaves_a_record_and_reads_nothing(gateway: Gateway) -> None:
    """`denied`, with the query in it and no intent."""
    body = await gateway.take("mallku", "FOR d IN diaries RETURN d")
    assert body["error"]["code"] == "permission_denied"
    record = gateway.worker.trail.records()[-1]
    assert (record.kind, record.code) == ("denied", "permission_denied")


async def test_pages_are_for_whoever_asked(gateway: Gateway) -> None:
    """Another principal who learns cursor and worker is told that there is none."""
    body = await gateway.take("mallku", "FOR n IN notes SORT n.n RETURN n.n", batch_size=8)
    cursor = body["result"]["cursor"]
    for stranger in ("other", "guest"):
        answer = await gateway.worker.take(caller_of(stranger).ask_page(cursor, 2))
        assert isinstance(answer.error, CursorLost)
    own = await gateway.worker.take(caller_of("mallku").ask_page(cursor, 2))
    assert own.result == {"result": list(range(8, 16)), "more": True}


async def test_a_cursor_does_not_outlive_its_policy(gateway: Gateway) -> None:
    """What was allowed under one version is asked anew under the next."""
    body = await gateway.take("mallku", "FOR n IN notes RETURN n.n", batch_size=8)
    policy = CompiledPolicy(read_policy(POLICY.replace("version: 7", "version: 8")))
    gateway.worker.pipeline = replace(gateway.worker.pipeline, policy=lambda: policy)
    answer = await gateway.worker.take(caller_of("mallku").ask_page(body["result"]["cursor"], 2))
    assert isinstance(answer.error, CursorLost)


async def test_next_is_admitted_at_its_worker_alone(gateway: Gateway) -> None:
    """Where commands are taken, nobody is asked for pages."""
    caller = caller_of("mallku")
    answer = await gateway.worker.take(caller.seal("next", {"cursor": "c", "page": 1}, None))
    assert answer.error.code == "invalid_subject"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("FOR n IN notes LIMIT 51 RETURN n", None),
        ("FOR i IN 1..51 RETURN i", "resource_limit"),
    ],
)
async def test_rows_are_bounded_by_the_grant(gateway: Gateway, text: str, code: str | None) -> None:
    """Fifty may come, and not one more."""
    body = await gateway.take("mallku", text)
    assert body.get("error", {}).get("code") == code


async def test_the_change_of_a_query_is_recorded(gateway: Gateway) -> None:
    """Intent and outcome, with each document's versions; a retry is answered from the ledger."""
    caller = caller_of("mallku")
    text = "FOR n IN notes LIMIT 2 UPDATE n WITH {x: 1} IN notes"
    sent = caller.seal("aql", {"query": text}, None)
    answer = await gateway.worker.take(sent)
    assert answer.reply.signed
    assert answer.body["receipt"]["sequence"]
    *_, intent, done = gateway.worker.trail.records()
    assert (intent.kind, done.kind) == ("intent", "done")
    assert [effect["new"]["x"] for effect in done.effects or ()] == [1, 1]
    again = await gateway.worker.take(caller.again(sent))
    assert again.body["replayed"]
    assert again.result == answer.result


async def test_whoever_holds_too_many_cursors_is_busy_and_on_the_trail(gateway: Gateway) -> None:
    """The intent stood there already, so it gets its outcome; the breaker takes no notice."""
    text = "FOR i IN 1..9 RETURN i"
    for _ in range(MAX_HELD // 2):
        assert (await gateway.take("mallku", text, batch_size=1))["result"]["more"]
    body = await gateway.take("mallku", text, batch_size=1)
    assert (body["error"]["code"], body["error"]["retryable"]) == ("busy", True)
    intent, failed = gateway.worker.trail.records()[-2:]
    assert (intent.kind, failed.kind, failed.code) == ("intent", "failed", "busy")
    assert intent.id == failed.id
    assert set(gateway.worker.breakers.states().values()) == {"closed"}
    assert (await gateway.take("other", text, batch_size=1))["result"]["more"]
