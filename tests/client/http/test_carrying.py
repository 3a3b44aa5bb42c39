"""What a door may do with the proofs of its callers, and what it may not: nothing else."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from mallku_client.answers import read_body
from mallku_client.http.carrying import DoorTransport, Prove
from mallku_client.signer import Carried
from mallku_contracts.dpop import Asked, Evidence, Proof
from mallku_contracts.envelope import Envelope
from mallku_contracts.errors import (
    InvalidProof,
    MallkuError,
    PermissionDenied,
    PrincipalMismatch,
    Replayed,
)
from mallku_contracts.limits import MAX_REPLY_BYTES
from mallku_contracts.subjects import CommandSubject, inbox_prefix
from tests.client.http.stage import DOOR, Holder, open_door, through
from tests.integration.world import World
from tests.support.simulated_caller import SimulatedCaller


@pytest_asyncio.fixture(loop_scope="module")
async def door(world: World) -> AsyncGenerator[DoorTransport]:
    """A door's connection to the broker."""
    async with open_door(world) as transport:
        yield transport


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_carried_command_is_the_callers_and_both_are_named(
    world: World, door: DoorTransport
) -> None:
    """What is carried is held to the caller's rules, and the trail names caller and door."""
    alice = Holder.of(world, "alice")
    db = through(world, door, "alice", alice.prove)
    await db.collection("notes").insert({"text": "mine", "_key": "carried"})
    note = await db.collection("notes").get("carried")
    assert note is not None
    assert note["owner"] == "alice"
    with pytest.raises(PermissionDenied, match="hides it"):
        await db.collection("notes").update({"_key": "carried", "secret": 1})
    trail = await world.trail()
    intents = [
        record
        for record in trail.records
        if record.kind == "intent" and record.principal == "alice" and ".insert" in record.subject
    ]
    assert intents[-1].via["door"] == DOOR
    assert intents[-1].via["kid"] == alice.key.kid
    assert intents[-1].via["proof"].count(b".") == 2
    assert alice.token not in intents[-1].pack()
    report = await world.verify()
    assert report.findings.accusations == []


async def test_key_of_a_door_alone_acts_as_nobody(world: World, door: DoorTransport) -> None:
    """Without a proof, a door's signature is worth nothing under another's name, nor its own."""
    plain = world.caller(DOOR)
    subject = _subject("alice", "insert")
    sent = plain.seal("insert", {"document": {}}, subject=subject, reply=inbox_prefix("alice"))
    assert isinstance(await _said(door, sent.subject, sent.data), PrincipalMismatch)
    sent = plain.seal("insert", {"document": {}}, "notes")
    with pytest.raises(PermissionDenied):  # the broker has no such subject for it
        await _said(door, sent.subject, sent.data)


async def test_proof_made_with_the_doors_own_key_is_refused(
    world: World, door: DoorTransport
) -> None:
    """A door that signs the proof itself, for a token that it was shown, is told so."""
    alice, own = Holder.of(world, "alice"), Holder.of(world, DOOR)

    def forge(asked: Asked) -> Carried:
        forged = Holder("alice", own.key, alice.token).proof(command=asked.digest())
        return Carried(alice.token, forged, _believed(forged, alice.token, own))

    with pytest.raises(InvalidProof, match="another key"):
        await through(world, door, "alice", forge).collection("notes").get("carried")


async def test_proof_is_good_for_its_command_alone(world: World, door: DoorTransport) -> None:
    """Another document, collection, operation or key under the same proof is refused."""
    alice = Holder.of(world, "alice")
    asked = Asked("insert", "mallku", "notes", {"document": {"text": "this"}})
    proof = alice.carried(alice.proof(command=asked.digest()))
    db = through(world, door, "alice", lambda _: proof)
    notes = db.collection("notes")
    for attempt in (
        notes.insert({"text": "that"}),
        notes.insert({"text": "this"}, return_new=True),
        notes.insert({"text": "this"}, idempotency_key="named"),
        notes.delete("carried"),
    ):
        with pytest.raises(InvalidProof, match="cmd is not the hash"):
            await attempt
    assert (await notes.insert({"text": "this"})) is not True


async def test_plain_proof_covers_method_and_path_and_nothing_more(
    world: World, door: DoorTransport
) -> None:
    """A proof of any DPoP library reads one document, and neither another one nor a selection."""
    alice = Holder.of(world, "alice")
    path = "/api/v1/collections/notes/documents/carried"

    def plain(_: Asked) -> Carried:
        return alice.carried(alice.proof("GET", path))

    notes = through(world, door, "alice", plain).collection("notes")
    assert await notes.get("carried")
    for attempt in (
        notes.get("other"),
        notes.get("carried", rev="1"),
        notes.delete("carried"),
        notes.count(),
        notes.get("carried", idempotency_key="named"),
        notes.insert({"_key": "carried"}),
    ):
        with pytest.raises(InvalidProof, match="needs the claim cmd"):
            await attempt


async def test_proof_is_good_once_over_all_workers(world: World, door: DoorTransport) -> None:
    """The same proof again is a replay, for reads and writes, whoever of the workers gets it."""
    alice = Holder.of(world, "alice")
    for operation, arguments in (
        ("get", {"document": "carried"}),
        ("insert", {"document": {"_key": f"once-{time.time_ns()}", "text": "once"}}),
    ):
        asked = Asked(operation, "mallku", "notes", arguments)
        proof = alice.carried(alice.proof(command=asked.digest()))
        for again in range(4):
            db = through(world, door, "alice", _always(proof))
            if again == 0:
                await db.command(operation, "notes", arguments)
                continue
            with pytest.raises(Replayed):
                await db.command(operation, "notes", arguments)


async def test_later_attempt_under_the_same_proof_has_no_second_effect(
    world: World, door: DoorTransport
) -> None:
    """A door that says it tries again is answered from memory, and only so often."""
    alice = Holder.of(world, "alice")
    arguments = {"document": {"text": "one alone"}}
    asked = Asked("insert", "mallku", "notes", arguments)
    carried = alice.carried(alice.proof(command=asked.digest()))
    keys = {
        str(await carried_attempt(world, door, "alice", carried, arguments, attempt))
        for attempt in range(1, 9)
    }
    assert len(keys) == 1
    with pytest.raises(InvalidProof, match="good for 8 attempts"):
        await carried_attempt(world, door, "alice", carried, arguments, 9)


async def test_stale_and_future_proofs_are_refused(world: World, door: DoorTransport) -> None:
    """A proof lives a minute, give or take the clocks."""
    alice = Holder.of(world, "alice")
    now_s = int(time.time())
    for made_s, said in ((now_s - 100, "more than 60 s ago"), (now_s + 45, "in the future")):
        asked = Asked("get", "mallku", "notes", {"document": "carried"})
        carried = alice.carried(alice.proof(command=asked.digest(), now_s=made_s))
        with pytest.raises(MallkuError) as caught:
            await carried_attempt(world, door, "alice", carried, dict(asked.arguments), 1, "get")
        assert said in str(caught.value) or caught.value.code == "malformed_envelope"


async def test_door_acts_only_for_its_callers_at_its_origin_within_its_roles(
    world: World, door: DoorTransport
) -> None:
    """The policy names whom a door carries, where it stands, and what it may carry at all."""
    operator, outsider = Holder.of(world, "operator"), Holder.of(world, "outsider")
    with pytest.raises(PermissionDenied, match="the broker refused it"):
        await through(world, door, "outsider", outsider.prove).collections()
    with pytest.raises(PermissionDenied, match="no rule lets the door"):
        await through(world, door, "operator", operator.prove).collection("notes").truncate()

    def elsewhere(asked: Asked) -> Carried:
        proof = operator.proof(command=asked.digest(), origin="http://other.example")
        return operator.carried(proof)

    with pytest.raises(PermissionDenied, match="is not at"):
        await through(world, door, "operator", elsewhere).collections()


async def test_proof_for_one_door_is_nothing_to_another(world: World) -> None:
    """A proof made for one origin cannot be carried by the door of another."""
    alice = Holder.of(world, "alice")
    async with open_door(world, "other_door") as other:
        db = through(world, other, "alice", alice.prove, door="other_door")
        with pytest.raises(PermissionDenied, match="is not at"):
            await db.collection("notes").get("carried")


async def test_caller_may_do_no_more_through_a_door(world: World, door: DoorTransport) -> None:
    """What the caller's own rules refuse stays refused, whatever the door's roles allow."""
    alice = Holder.of(world, "alice")
    db = through(world, door, "alice", alice.prove)
    for attempt in (
        db.collection("memory_anchors").insert({}),
        db.create_collection("fresh"),
        db.aql.execute("FOR n IN notes RETURN n"),
        db.execute_transaction(
            [{"operation": "insert", "collection": "memory_anchors", "arguments": {"document": {}}}]
        ),
    ):
        with pytest.raises(PermissionDenied):
            await attempt


async def test_query_goes_through_a_door_page_by_page(world: World, door: DoorTransport) -> None:
    """A query and each of its pages are carried, each under a proof of its own."""
    mallku = Holder.of(world, "mallku")
    db = through(world, door, "mallku", mallku.prove)
    await db.collection("memory_anchors").insert_many([{"n": n} for n in range(25)])
    cursor = await db.aql.execute("FOR a IN memory_anchors RETURN a.n", batch_size=10)
    assert len(await cursor.all()) >= 25


def _always(carried: Carried) -> Prove:
    return lambda _: carried


def _subject(principal: str, operation: str) -> CommandSubject:
    return CommandSubject.build(principal, "mallku", "notes", operation)


async def _said(door: DoorTransport, subject: CommandSubject, data: bytes) -> MallkuError:
    """What a worker says of these bytes."""
    reply = await door.request(str(subject), data, None, 3.0)
    said = read_body(Envelope.split(reply, max_bytes=MAX_REPLY_BYTES).body)
    assert isinstance(said, MallkuError)
    return said


def _believed(proof: bytes, token: bytes, holder: Holder) -> Proof:
    return Proof.verify(proof, token=token, key=holder.key.public)


async def carried_attempt(  # noqa: PLR0917 - everything that one transmission says
    world: World,
    door: DoorTransport,
    principal: str,
    carried: Carried,
    arguments: Mapping[str, Any] | bytes,
    attempt: int,
    operation: str = "insert",
) -> object:
    """One attempt by its number, with nothing in front of the worker that would refuse it."""
    holder = Holder.of(world, DOOR)
    subject = _subject(principal, operation)
    evidence = Evidence(holder.token, carried.token, carried.text).join()
    sent = SimulatedCaller(principal, holder.key, evidence).seal(
        operation,
        arguments,
        subject=subject,
        id=carried.proof.command_id(attempt),
        idem=carried.proof.command_id(1),
        attempt=attempt,
    )
    reply = await door.request(str(subject), sent.data, None, 3.0)
    said = read_body(Envelope.split(reply, max_bytes=MAX_REPLY_BYTES).body)
    if isinstance(said, MallkuError):
        raise said
    return said["result"]
