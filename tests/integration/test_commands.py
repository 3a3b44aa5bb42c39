from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats.errors import MaxPayloadError

from mallku_broker.connection import GatewayConnection
from mallku_client import Answer, SecuredDatabaseInterface
from mallku_contracts.errors import (
    InvalidArguments,
    InvalidSubject,
    MessageTooLarge,
    NotSupported,
    PermissionDenied,
    ResultTooLarge,
    UniqueViolation,
)
from mallku_contracts.limits import MAX_COMMAND_BYTES, MAX_PAYLOAD_BYTES, MIB
from mallku_contracts.operations import OPERATIONS, Scope
from mallku_contracts.subjects import NEXT
from tests.integration.world import World, ask, exchange
from tests.support.simulated_caller import SimulatedCaller

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_insert_and_get(client: SecuredDatabaseInterface) -> None:
    """A document goes through all eleven steps into the store, and back."""
    anchors = client.collection("memory_anchors")
    answers: list[Answer] = []
    meta = await anchors.insert({"kind": "khipu", "weight": 3}, on_answer=answers.append)
    assert isinstance(meta, dict)
    assert await anchors.get(meta["_key"]) == {"kind": "khipu", "weight": 3, **meta}
    assert answers[0].receipt is not None
    assert answers[0].receipt["stream"] == "MALLKU_AUDIT"


async def test_two_workers_share_the_load(
    world: World, raw: GatewayConnection, caller: SimulatedCaller
) -> None:
    """Reads and writes reach both, each command one of them."""
    asked: tuple[tuple[str, dict[str, Any]], ...] = (("insert", {"document": {}}), ("count", {}))
    for operation, arguments in asked:
        sent = [caller.seal(operation, arguments, "khipu_blocks") for _ in range(60)]
        answers = await asyncio.gather(*(exchange(raw, one) for one in sent))
        assert len({answer.reply.header.worker for answer in answers}) == 2
    async with world.client() as client:
        assert await client.collection("khipu_blocks").count() == 60


async def test_the_audit_trail_is_complete(
    world: World, raw: GatewayConnection, caller: SimulatedCaller
) -> None:
    """Every command has one intent and one outcome, and each receipt is its record's hash.

    The caller's signature holds again, from the record alone.
    """
    commands = [caller.seal("insert", {"document": {"n": n}}) for n in range(20)]
    commands += [caller.seal("find", {"filters": {"n": n}}) for n in range(20)]
    commands += [caller.seal("get", {"document": "k"}, "no_such_collection")]
    answers = await asyncio.gather(*(exchange(raw, one) for one in commands))
    trail = await world.trail()
    ids = {one.header.id for one in commands}
    for kinds in (("intent",), ("done", "failed")):
        found = {name: count for name, count in trail.ids(*kinds).items() if name in ids}
        assert found == dict.fromkeys(ids, 1)
    assert (await world.verify()).findings.accusations == []
    receipts = [answer.body["receipt"] for answer in answers[:20]]
    assert all(trail.hashes[one["sequence"]] == one["hash"] for one in receipts)


async def test_a_retry_has_its_effect_once(raw: GatewayConnection, caller: SimulatedCaller) -> None:
    """Signed anew and sent many times, to both workers: one document, one result."""
    sent = caller.seal("insert", {"document": {"kind": "once"}})
    first = await exchange(raw, sent)
    retries = [caller.again(sent, attempt=attempt) for attempt in (1, 2, 2, 2, 3, 4, 5, 6)]
    answers = await asyncio.gather(*(exchange(raw, one) for one in retries))
    assert {answer.result["_key"] for answer in answers} == {first.result["_key"]}
    assert all(answer.body["replayed"] for answer in answers)
    found = await exchange(raw, caller.seal("count", {"filters": {"kind": "once"}}))
    assert found.result == 1


async def test_attempts_that_overlap_have_their_effect_once(
    raw: GatewayConnection, caller: SimulatedCaller
) -> None:
    """First attempts and retries of one command at the same moment: the ledger lets one commit."""
    for number in range(10):
        sent = caller.seal("insert", {"document": {"kind": f"together-{number}"}})
        attempts = [sent, *(caller.again(sent, attempt=1 + n % 3) for n in range(7))]
        answers = await asyncio.gather(*(exchange(raw, one) for one in attempts))
        assert len({answer.result["_key"] for answer in answers}) == 1
        asked = caller.seal("count", {"filters": {"kind": f"together-{number}"}})
        assert (await exchange(raw, asked)).result == 1


async def test_the_same_key_for_another_command(
    raw: GatewayConnection, caller: SimulatedCaller
) -> None:
    """`idempotency_conflict`, and the document that was there is as it was."""
    sent = caller.seal("insert", {"document": {"_key": "conflict"}}, idem="order-66")
    await exchange(raw, sent)
    for attempt in (1, 2):
        other = caller.seal("insert", {"document": {}}, idem="order-66", attempt=attempt)
        assert (await exchange(raw, other)).error.code == "idempotency_conflict"


@pytest.mark.parametrize("name", ["", ".", "a.b", "a b", "*", ">", "a*", "é", "x" * 65, "$a"])
async def test_bad_names(
    client: SecuredDatabaseInterface, raw: GatewayConnection, caller: SimulatedCaller, name: str
) -> None:
    """The client refuses them and says which; a worker that gets one all the same does as well."""
    with pytest.raises(InvalidSubject, match="collection"):
        await client.collection(name).count()
    if name in {"a*", "$a", "x" * 65, "é"}:  # what a broker takes for a token
        sent = caller.seal("insert", {"document": {}})
        subject = f"mallku.v1.cmd.mallku.mallku.{name}.insert"
        reply = await ask(raw, sent, subject=subject)
        assert (reply.headers or {})["Nats-Service-Error-Code"] == "102"


async def test_every_operation_is_answered(world: World) -> None:
    """Each by a coded error or a result, with arguments that are none."""
    async with world.connection("operator") as connection:
        caller = world.caller("operator")
        for operation in OPERATIONS.values():
            if operation.name == NEXT:  # asked of one worker alone
                continue
            where = None if operation.scope is Scope.DATABASE else "nowhere"
            answer = await exchange(connection, caller.seal(operation.name, {"nonsense": 1}, where))
            assert isinstance(answer.error, InvalidArguments | NotSupported), operation.name


async def test_errors_arrive_as_what_they_are(client: SecuredDatabaseInterface) -> None:
    """A second document with the same key is python-arango's error; a drop is not permitted."""
    anchors = client.collection("memory_anchors")
    await anchors.insert({"_key": "twice"})
    with pytest.raises(UniqueViolation) as violation:
        await anchors.insert({"_key": "twice"})
    assert (violation.value.error_code, violation.value.http_code) == (1210, 409)
    with pytest.raises(PermissionDenied):
        await client.delete_collection("memory_anchors")


async def test_commands_that_are_too_large(
    client: SecuredDatabaseInterface, raw: GatewayConnection, caller: SimulatedCaller
) -> None:
    """Above 2 MiB client and worker say so; above 8 MiB no worker ever gets it."""
    anchors = client.collection("memory_anchors")
    with pytest.raises(MessageTooLarge):
        await anchors.insert({"text": "x" * MAX_COMMAND_BYTES})
    sent = caller.seal("insert", {"document": {}})
    for size in (MAX_COMMAND_BYTES + 1, MAX_PAYLOAD_BYTES - 1024):
        reply = await ask(raw, sent, data=b"x" * size)
        assert (reply.headers or {})["Nats-Service-Error-Code"] == "101"
    with pytest.raises(MaxPayloadError):
        await ask(raw, sent, data=b"x" * (MAX_PAYLOAD_BYTES + 1))


async def test_replies_near_the_cap(world: World, client: SecuredDatabaseInterface) -> None:
    """Replies arrive up to their limit, then there is `result_too_large`; workers outlive both."""
    before, anchors = world.workers, client.collection("memory_anchors")
    keys: list[str] = []
    for number in range(9):
        meta = await anchors.insert({"_key": f"large-{number}", "text": "é" * (MIB // 2 - 2_000)})
        assert isinstance(meta, dict)
        keys.append(meta["_key"])
    refused = False
    for count in range(1, len(keys) + 1):
        try:
            documents = await anchors.get_many(keys[:count])
        except ResultTooLarge:
            refused = True
        else:
            assert not refused
            assert len(documents) == count
    assert refused
    assert await anchors.has(keys[0])
    assert world.workers == before


async def test_a_large_batch_is_recorded_whole(
    world: World, client: SecuredDatabaseInterface
) -> None:
    """10,000 documents in one command: the outcome holds the new version of every one."""
    answers: list[Answer] = []
    await client.collection("khipu_blocks").insert_many(
        [{"n": n, "text": "x" * 100} for n in range(10_000)], on_answer=answers.append, timeout=20
    )
    (answer,) = answers
    assert answer.receipt is not None
    trail = await world.trail()
    (done,) = [
        record for record in trail.records if (record.id, record.kind) == (answer.id, "done")
    ]
    assert len(done.effects) == 10_000
    assert all(effect["new"]["text"] == "x" * 100 for effect in done.effects)
