"""The steps around a store under document rules: what is refused early, recorded, and replied."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mallku_contracts.errors import (
    DeadlineExceeded,
    DocumentNotFound,
    MallkuError,
    PermissionDenied,
    ReservedName,
    ResultTooLarge,
)
from mallku_contracts.operations import Access
from mallku_contracts.policy import CompiledPolicy, read_policy
from mallku_workers.execution import Bulkheads, Executor
from mallku_workers.message import unix_ms
from mallku_workers.stores.embedded import EmbeddedStore
from tests.support.simulated_caller import Sent, SimulatedCaller
from tests.workers.world import Cluster, Worker

POLICY = """
version: 7
roles:
  service:
    rules:
{rules}
    limits: {{rate_per_s: 100000, burst: 100000{limits}}}
principals:
  mallku: {{roles: [service]}}
"""
ALL = '{id: all, collections: ["*"], operations: [read, write, admin]}'
OWN = (
    "{id: own, collections: [notes], operations: [read, write], where: {owner: $principal},"
    " set: {owner: $principal}, hide: [token, box.pin]}"
)
NAMES = '{id: names, collections: ["*"], operations: [list-collections, outcome]}'


def compiled(*rules: str, limits: str = "") -> CompiledPolicy:
    """A policy under which `mallku` has these rules."""
    lines = "\n".join(f"      - {rule}" for rule in rules)
    return CompiledPolicy(read_policy(POLICY.format(rules=lines, limits=limits)))


@dataclass
class Gateway:
    """A worker on an embedded store, whose policy can be exchanged."""

    worker: Worker
    caller: SimulatedCaller

    def adopt(self, *rules: str, limits: str = "") -> None:
        """Decide by another policy from now on."""
        policy = compiled(*rules, limits=limits)
        self.worker.pipeline = replace(self.worker.pipeline, policy=lambda: policy)

    def seal(self, operation: str, collection: str | None = "notes", **arguments: Any) -> Sent:
        """A command."""
        return self.caller.seal(operation, arguments, collection)

    async def __call__(
        self, operation: str, collection: str | None = "notes", **arguments: Any
    ) -> Any:
        """What is answered to a command."""
        return (await self.worker.take(self.seal(operation, collection, **arguments))).result

    async def refused(self, operation: str, **arguments: Any) -> MallkuError:
        """The error that a command is answered with."""
        return (await self.worker.take(self.seal(operation, **arguments))).error


@pytest.fixture
async def gateway(
    worker: Worker, caller: SimulatedCaller, tmp_path: Path
) -> AsyncIterator[Gateway]:
    """A gateway with an empty collection `notes`, where `mallku` may do everything."""
    store = EmbeddedStore(tmp_path / "store")
    await store.start()
    executor = Executor(store, worker.breakers, worker.cursors, Bulkheads(16, 16), clock=unix_ms)
    worker.pipeline = replace(worker.pipeline, executor=executor)
    gateway = Gateway(worker, caller)
    gateway.adopt(ALL)
    await gateway("create-collection")
    yield gateway
    await store.stop()


async def test_what_arguments_tell_is_refused_before_the_intent(gateway: Gateway) -> None:
    """A hidden field in a filter leaves one `denied` record, with rule and policy version."""
    gateway.adopt(OWN)
    before = len(gateway.worker.trail.stream)
    refused = await gateway.refused("find", filters={"token": 1})
    assert isinstance(refused, PermissionDenied)
    assert refused.details["rule"] == "service/own"
    (record,) = gateway.worker.trail.records()[before:]
    assert (record.kind, record.code) == ("denied", "permission_denied")
    assert (record.policy, record.rule) == (7, "service/own")


async def test_the_trail_holds_what_a_mutation_was_held_to(gateway: Gateway) -> None:
    """The intent has the rule's bound values and the outcome the whole version; the reply less.

    The record of a read, and of somebody without rules, says nothing of it.
    """
    gateway.adopt(OWN)
    before = len(gateway.worker.trail.stream)
    meta = await gateway("insert", document={"_key": "a"}, return_new=True)
    await gateway("get", document="a")
    gateway.adopt(ALL)
    await gateway("update", document={"_key": "a", "token": 1})
    gateway.adopt(OWN)
    changed = await gateway("update", document={"_key": "a", "n": 1}, return_new=True)
    records = gateway.worker.trail.records()[before:]
    intents = [record for record in records if record.kind == "intent"]
    assert [bool(intent.bound) for intent in intents] == [True, False, False, True]
    assert intents[0].bound["set"] == {"owner": "mallku"}
    assert intents[0].bound["hide"] == ["token", "box.pin"]
    assert list(intents[0].bound["where"]["values"].values()) == ["mallku"]
    assert "owner" in intents[0].bound["where"]["aql"]
    assert meta["new"]["owner"] == "mallku"
    assert "token" not in changed["new"]
    assert records[-1].effects[0]["new"]["token"] == 1


async def test_an_answer_from_the_ledger_is_concealed_by_the_policy_of_today(
    gateway: Gateway,
) -> None:
    """`outcome` shows of an old answer what `get` would show now; a retry what its rule shows."""
    replace_ = gateway.seal("replace", document={"_key": "b", "n": 1}, return_old=True)
    await gateway("insert", document={"_key": "b", "owner": "mallku", "token": "S"})
    assert (await gateway.worker.take(replace_)).result["old"]["token"] == "S"
    gateway.adopt(OWN)
    answer = await gateway.worker.take(gateway.caller.again(replace_))
    assert answer.body["replayed"]
    assert answer.result["old"].keys() == {"_id", "_key", "_rev", "owner"}
    gateway.adopt(ALL)
    sent = gateway.seal(
        "insert", document={"_key": "a", "owner": "mallku", "token": "S", "n": 1}, return_new=True
    )
    assert (await gateway.worker.take(sent)).result["new"]["token"] == "S"
    gateway.adopt(OWN, NAMES)
    asked = {"idempotency_key": sent.header.idem}
    retried = await gateway.worker.take(gateway.caller.again(sent))
    assert isinstance(retried.error, PermissionDenied)  # it writes what is hidden by now
    old = await gateway("outcome", None, **asked)
    assert old["state"] == "done"
    assert {"owner", "n"} <= old["result"]["new"].keys()
    assert "token" not in old["result"]["new"]
    gateway.adopt(OWN.replace("$principal}, set", "somebody}, set"), NAMES)
    old = await gateway("outcome", None, **asked)
    assert old["result"].keys() == {"_id", "_key", "_rev"}
    gateway.adopt(NAMES)
    old = await gateway("outcome", None, **asked)
    assert old["result"].keys() == {"_id", "_key", "_rev"}


async def test_a_retry_shows_no_version_that_is_out_of_sight_by_now(gateway: Gateway) -> None:
    """What was inserted then is somebody else's under the policy of today."""
    document = {"_key": "a", "owner": "other", "n": 1}
    sent = gateway.seal("insert", document=document, return_new=True)
    many = gateway.seal("insert-many", documents=[{"owner": "other"}, {"owner": "mallku"}],
                        return_new=True)  # fmt: skip
    for one in (sent, many):
        await gateway.worker.take(one)
    gateway.adopt(OWN, NAMES)
    answer = await gateway.worker.take(gateway.caller.again(sent))
    assert answer.body["replayed"]
    assert answer.result.keys() == {"_id", "_key", "_rev"}
    answer = await gateway.worker.take(gateway.caller.again(many))
    assert ["new" in result for result in answer.result] == [False, True]
    result = (await gateway("outcome", None, id=many.header.id))["result"]
    assert ["new" in entry for entry in result] == [False, True]


async def test_an_answer_is_not_replayed_to_who_may_no_longer_ask(gateway: Gateway) -> None:
    """The ledger answers only what the policy of today would let through."""
    sent = gateway.seal("insert", document={"_key": "a"})
    await gateway.worker.take(sent)
    gateway.adopt('{id: look, collections: ["*"], operations: [read]}')
    answer = await gateway.worker.take(gateway.caller.again(sent))
    assert isinstance(answer.error, PermissionDenied)


async def test_only_names_that_may_be_known_are_listed(gateway: Gateway) -> None:
    """A collection with which nothing may be done is not in the list; one rule is enough."""
    for name in ("notes_two", "vault", "drafts"):
        await gateway("create-collection", name)

    async def names() -> list[str]:
        return [info["name"] for info in await gateway("list-collections", None)]

    assert await names() == ["drafts", "notes", "notes_two", "vault"]
    gateway.adopt(NAMES)
    assert await names() == []
    gateway.adopt(NAMES, '{id: look, collections: ["notes*"], operations: [count]}')
    assert await names() == ["notes", "notes_two"]
    gateway.adopt(
        NAMES,
        "{id: q, collections: [vault], operations: [aql]}",
        '{id: elsewhere, databases: [other], collections: ["*"], operations: [read]}',
    )  # fmt: skip
    assert await names() == ["vault"]


async def test_no_answer_has_more_rows_than_allowed(gateway: Gateway) -> None:
    """A page of `find` gets smaller and says that more follows; what has no pages is refused."""
    documents = [{"_key": f"k{n}"} for n in range(7)]
    await gateway("insert-many", documents=documents)
    gateway.adopt(ALL, limits=", rows: 3")
    seen, after = [], None
    while True:
        page = await gateway("find", after=after)
        assert len(page["documents"]) <= 3
        seen += page["documents"]
        if not page["more"]:
            break
        after = page["after"]
    assert [document["_key"] for document in seen] == [one["_key"] for one in documents]
    page = await gateway("find", sort=[{"sort_by": "_key"}], batch_size=2)
    assert len(page["documents"]) == 2
    keys = [one["_key"] for one in documents]
    assert isinstance(await gateway.refused("get-many", documents=keys), ResultTooLarge)
    assert len(await gateway("get-many", documents=keys[:3])) == 3
    assert isinstance(
        await gateway.refused("update-many", documents=documents, return_new=True), ResultTooLarge
    )
    assert isinstance(
        await gateway.refused("delete-many", documents=keys, return_old=True), ResultTooLarge
    )
    assert len(await gateway("delete-many", documents=keys)) == 7


async def test_no_transaction_answers_with_more_rows_than_allowed(gateway: Gateway) -> None:
    """Its steps count together, however few each of them shows; both versions of one are one."""
    await gateway("insert-many", documents=[{"_key": f"k{n}"} for n in range(6)])
    gateway.adopt(ALL, limits=", write: {rows: 2}")
    both = {"return_new": True, "return_old": True}
    shown = [
        ("delete", {"document": "k0", "return_old": True}),
        ("update", {"document": {"_key": "k1", "n": 1}, **both}),
        ("insert", {"document": {"_key": "new"}, "return_new": True}),
        ("upsert", {"filters": {"_key": "k2"}, "insert": {}, "update": {"n": 1}, **both}),
        ("delete-many", {"documents": ["k3"], "return_old": True}),
    ]
    silent = ("delete", {"document": "k4"})

    def steps(*some: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"operation": o, "collection": "notes", "arguments": a} for o, a in some]

    for extra in shown[2:]:
        refused = await gateway.refused(
            "transaction", collection=None, steps=steps(*shown[:2], extra)
        )
        assert isinstance(refused, ResultTooLarge), extra
    assert await gateway("count") == 6
    done = await gateway("transaction", None, steps=steps(*shown[:2], silent))
    assert [sorted(one.keys() & {"new", "old"}) for one in done] == [["old"], ["new", "old"], []]


async def test_now_is_the_time_of_the_command(gateway: Gateway) -> None:
    """A rule may let documents expire: `$now` is put in for every command anew."""
    until_then = unix_ms() + 60_000
    await gateway("insert", document={"_key": "a", "until": until_then})
    gateway.adopt("{id: fresh, collections: [notes], operations: [read], where: {until: {'>': $now}}}")  # fmt: skip  # noqa: E501 - one rule
    assert await gateway("exists", document="a")
    message = {"received_ms": until_then + 1}
    sent = gateway.caller.seal(
        "exists", {"document": "a"}, "notes", iat=until_then, exp=until_then + 10_000
    )
    assert (await gateway.worker.take(sent, **message)).result is False


async def test_nothing_changes_for_whoever_no_rule_holds(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """Work without document rules carries none, and its result is what the store gave."""
    await worker.take(caller.seal("insert", {"document": {"_key": "a", "token": 1}}))
    found = await worker.take(caller.seal("get", {"document": "a"}))
    assert found.result["token"] == 1
    assert [work.rules for work in worker.store.works] == [None, None]


async def test_the_store_works_no_longer_than_allowed(
    cluster: Cluster, worker: Worker, caller: SimulatedCaller
) -> None:
    """The limit of runtime ends work before a patient caller would; a retry would not help.

    A caller who is less patient hears of the own time being over, as ever.
    """
    policy = compiled(ALL, limits=", read: {runtime_ms: 200}")
    worker.pipeline = replace(worker.pipeline, policy=lambda: policy)
    began = unix_ms()
    await worker.take(caller.seal("count", {}))
    await worker.take(caller.seal("insert", {"document": {}}))
    read, write = worker.store.works
    assert began + 200 <= read.deadline_ms <= unix_ms() + 200
    assert write.deadline_ms > began + 5_000
    cluster.store.fault = DeadlineExceeded("the store's clock says so")
    error = (await worker.take(caller.seal("count", {}))).error
    assert (error.code, error.retryable) == ("deadline_exceeded", False)
    assert "200 ms" in error.message
    error = (await worker.take(caller.seal("count", {}, budget=100))).error
    assert (error.code, error.retryable) == ("deadline_exceeded", True)


async def test_a_refusal_by_rule_does_not_speak_against_the_store(gateway: Gateway) -> None:
    """Documents out of sight and out of a rule leave the breaker closed, and one closes it."""
    await gateway("insert", document={"_key": "a", "owner": "other"})
    gateway.adopt(OWN.replace(" set: {owner: $principal},", ""))
    for _ in range(10):
        refused = await gateway.refused("insert", document={"owner": "other"})
        assert isinstance(refused, PermissionDenied)
        missing = await gateway.refused("delete", document="a")
        assert isinstance(missing, DocumentNotFound)
    breaker = gateway.worker.breakers.of(Access.WRITE)
    assert breaker.state == "closed"
    breaker._breaker.open()
    breaker._opened_at = time.monotonic() - 1
    await gateway.refused("insert", document={"owner": "other"})
    assert breaker.state == "closed"


async def test_the_steps_of_a_transaction_are_on_record_with_their_rules(gateway: Gateway) -> None:
    """The intent says for each step what it was held to; results are concealed step by step."""
    gateway.adopt(
        OWN, '{id: rest, collections: ["*"], operations: [read, write, create-collection]}'
    )
    await gateway("create-collection", "others")
    steps = [
        {
            "operation": "insert",
            "collection": name,
            "arguments": {"document": {"_key": "a"}, "return_new": True},
        }
        for name in ("notes", "others")
    ]
    results = await gateway("transaction", None, steps=steps)
    assert ["owner" in result["new"] for result in results] == [True, False]
    intent = gateway.worker.trail.records("intent")[-1]
    assert [step.get("set") for step in intent.bound["steps"]] == [{"owner": "mallku"}, None]


async def test_outcome_shows_no_rows_of_a_query(gateway: Gateway) -> None:
    """Nobody can tell which documents the rows were; a retry is authorized anew and shows them."""
    sent = gateway.seal("aql", None, query="INSERT {token: 'S'} INTO notes RETURN NEW")
    assert (await gateway.worker.take(sent)).result["result"][0]["token"] == "S"
    old = await gateway("outcome", None, idempotency_key=sent.header.idem)
    assert old["state"] == "done"
    assert old["result"]["statistics"]["writes_executed"] == 1
    assert "result" not in old["result"]
    again = await gateway.worker.take(gateway.caller.again(sent))
    assert again.body["replayed"]
    assert again.result["result"][0]["token"] == "S"
    gateway.adopt(OWN, NAMES, '{id: ask, collections: ["*"], operations: [aql]}')
    answer = await gateway.worker.take(gateway.caller.again(sent))
    assert isinstance(answer.error, PermissionDenied)


@pytest.mark.parametrize("end", ["_from", "_to"])
async def test_no_edge_leads_to_the_gateways_own(gateway: Gateway, end: str) -> None:
    """A traversal would follow it; it is refused before the intent, whatever the store."""
    edge = {"_from": "notes/a", "_to": "notes/b", end: "mallku_ledger/x"}
    assert isinstance(await gateway.refused("insert", document=edge), ReservedName)
    assert isinstance(await gateway.refused("insert-many", documents=[edge]), ReservedName)
    change = {"_key": "a", end: "_graphs/x"}
    assert isinstance(await gateway.refused("update", document=change), ReservedName)
