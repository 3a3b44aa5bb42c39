"""What a door does for those in front of it: room, traces, leaving, and no more than it carries."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from mallku_client.http import carrying
from mallku_client.http.carrying import DoorTransport
from mallku_client.http.guard import Guard
from mallku_client.http.settings import DoorSettings
from mallku_client.http_transport import COMMAND_TYPE
from mallku_client.nats_transport import NatsTransport
from mallku_contracts.errors import Busy, InvalidProof, MalformedBody, MessageTooLarge
from mallku_contracts.limits import MAX_PROVEN_BYTES, MAX_PROVEN_CONTAINERS, MAX_PROVEN_FLOATS
from mallku_contracts.subjects import CommandSubject
from tests.client.http.stage import DOOR, Holder, open_door, through, visitor
from tests.client.http.test_carrying import carried_attempt
from tests.integration.world import EVENT_S, World, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
DOCUMENTS = "/api/v1/collections/memory_anchors/documents"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-03"

TOO_MUCH: tuple[dict[str, Any], ...] = (
    {"document": {"a": "\x01" * MAX_PROVEN_BYTES}},
    {"document": {"a": [[]] * MAX_PROVEN_CONTAINERS}},
    {"document": {"a": [1.5e-7] * (MAX_PROVEN_FLOATS + 1)}},
)


async def test_worker_spells_out_no_more_than_a_door_may_carry(world: World) -> None:
    """A door that does not look itself gains nothing: what is slow to hash is refused unhashed."""
    alice = Holder.of(world, "alice")
    wrong = alice.carried(alice.proof(command="of something else"))
    async with open_door(world) as door:
        for arguments in TOO_MUCH:
            with pytest.raises(MessageTooLarge, match="a door carries at most"):
                await carried_attempt(world, door, "alice", wrong, arguments, 1)


async def test_more_than_a_door_may_carry_is_413(http: httpx.AsyncClient) -> None:
    """What a worker would refuse is refused before it is proven; just below, it is taken."""
    for arguments in TOO_MUCH:
        refused = await http.post(DOCUMENTS, json=arguments["document"])
        assert (refused.status_code, refused.json()["code"]) == (413, "message_too_large")
    most = {"a": "x" * (MAX_PROVEN_BYTES - 1_000), "b": [1.5e-7] * 100}
    assert (await http.post(DOCUMENTS, json=most)).status_code == 201
    floats = {"a": [1.5e-7] * MAX_PROVEN_FLOATS}
    assert (await http.post(DOCUMENTS, json=floats)).status_code == 201
    wide = {"documents": [{f"n{number}": 1 for number in range(5_001)}], "operation": "insert"}
    refused = await http.post(DOCUMENTS.replace("documents", "batches"), json=wide)
    assert refused.status_code in {400, 413}, refused.text


class _Silent(NatsTransport):
    """Gets no answers."""

    async def request(self, *_: object, **__: object) -> bytes:
        """Wait for ever."""
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


async def test_one_caller_more_than_a_door_hears_is_told_when_to_come_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With everybody's place taken the next is refused; when one has left, there is room."""
    monkeypatch.setattr(carrying, "MAX_CALLERS", 2)
    monkeypatch.setattr(carrying, "NatsTransport", _Silent)
    places = [
        str(CommandSubject.build(name, "mallku", "notes", "get"))
        for name in ("alice", "mallku", "operator")
    ]
    async with open_door(world) as door:
        waiting = [asyncio.create_task(door.request(each, b"", None, 9.0)) for each in places[:2]]
        await until("both wait", lambda: len(door._held) == 2)
        with pytest.raises(Busy) as refused:
            await door.request(places[2], b"", None, 9.0)
        assert refused.value.retry_after == carrying.RETRY_AFTER_S
        await _cancelled(waiting[0])
        third = asyncio.create_task(door.request(places[2], b"", None, 9.0))
        await until("the third waits", lambda: set(door._held) == {"mallku", "operator"})
        for each in (waiting[1], third):
            await _cancelled(each)


async def _cancelled(task: asyncio.Task[bytes]) -> None:
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_every_refusal_of_a_path_has_a_code(http: httpx.AsyncClient) -> None:
    """No such path and no such method are problems like all others."""
    for method, path, status in (
        ("GET", "/nowhere", 404),
        ("GET", "/api/v1/collections/", 404),
        ("PUT", "/api/v1/collections", 405),
    ):
        answer = await http.request(method, path)
        body = answer.json()
        assert (answer.status_code, body["status"]) == (status, status)
        assert (body["type"], body["code"]) == ("urn:mallku:error:no_such_path", "no_such_path")
        assert answer.headers["content-type"] == "application/problem+json"
        assert ("allow" in answer.headers) is (status == 405)


async def test_trace_of_a_request_is_its_commands(http: httpx.AsyncClient, world: World) -> None:
    """A well-formed `traceparent` goes on to the trail; any other, or two, is as good as none."""
    for said, trace in (
        ([PARENT], TRACE),
        (["00-junk"], ""),
        ([PARENT, PARENT], ""),
        ([PARENT + "\x85"], ""),
    ):
        headers = httpx.Headers([(b"traceparent", each.encode("latin-1")) for each in said])
        made = await http.post(DOCUMENTS, json={}, headers=headers)
        assert made.status_code == 201, made.text
        records = (await world.trail()).records
        assert {each.trace for each in records if each.id == made.headers["mallku-id"]} == {trace}
    job = {"Prefer": "respond-async", "traceparent": PARENT, "Idempotency-Key": "traced"}
    assert (await http.post(DOCUMENTS, json={}, headers=job)).status_code == 202
    async with asyncio.timeout(EVENT_S):
        while not (await http.get("/api/v1/jobs/traced")).json().get("result"):
            pass
    jobs = [each for each in (await world.trail()).records if each.kind == "done" and each.trace]
    assert {each.trace for each in jobs} == {TRACE}
    assert len(jobs) == 2


async def test_trace_of_a_relayed_command_goes_with_it(url: str, world: World) -> None:
    """What a caller signed itself keeps its trace through the door."""
    sent = world.caller("mallku").seal("insert", {"document": {}}, "memory_anchors")
    headers = {"Content-Type": COMMAND_TYPE, "traceparent": PARENT}
    async with visitor(url, None) as http:
        place = f"/api/v1/relay/{sent.subject}"
        answer = await http.post(place, content=sent.data, headers=headers)
    assert answer.status_code == 200
    records = (await world.trail()).records
    assert {each.trace for each in records if each.id == sent.header.id} == {TRACE}


async def test_refusal_of_a_proof_names_the_door(world: World) -> None:
    """Whose door brought what was refused stands on the trail, before any proof is believed."""
    alice = Holder.of(world, "alice")
    forged = replace(alice.carried(alice.proof()), text=b"a.b.c")
    async with open_door(world) as door:
        with pytest.raises(MalformedBody):
            await carried_attempt(world, door, "alice", alice.carried(alice.proof()), b"\xc1", 1)
        with pytest.raises(InvalidProof):
            await carried_attempt(world, door, "alice", forged, {}, 1)
    refused = [each for each in (await world.trail()).records if each.kind == "denied"]
    last = {each.code: each for each in refused if each.principal == "alice"}
    assert last["malformed_body"].via == {"door": DOOR, "kid": alice.key.kid}
    assert last["invalid_proof"].via == {"door": DOOR}


@asynccontextmanager
async def _standing_still(world: World) -> AsyncGenerator[None]:
    """Workers that do nothing meanwhile, for less than they are given up for."""
    pids = list(world.workers.values())
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_who_leaves_has_the_command_called_off(http: httpx.AsyncClient, world: World) -> None:
    """What nobody waits for is not begun, and its place at the door is free."""
    async with _standing_still(world):
        with pytest.raises(httpx.ReadTimeout):
            await http.put(
                f"{DOCUMENTS}/left", json={}, headers={"If-None-Match": "*"}, timeout=0.4
            )
        async with asyncio.timeout(EVENT_S):
            while (await http.get("/health")).status_code != 200:
                pass
    assert (await http.post(DOCUMENTS, json={})).status_code == 201
    assert (await http.get(f"{DOCUMENTS}/left")).status_code == 404


async def test_caller_who_leaves_ends_what_was_done_for_them() -> None:
    """A request is given up when its caller leaves before the answer, and not once it began."""
    ended: list[str] = []

    async def serve(*, begins: bool) -> str:
        left, began = asyncio.Event(), asyncio.Event()

        async def app(_scope: Scope, receive: Receive, send: Send) -> None:
            assert (await receive())["type"] == "http.request"
            if begins:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            began.set()
            try:
                if not begins:
                    await asyncio.Event().wait()
                assert (await receive())["type"] == "http.disconnect"
                ended.append("told")
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Message:
            if (message := next(messages, None)) is not None:
                return message
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(_: Message) -> None:
            """Take it."""

        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        guarded = asyncio.create_task(Guard(app, DoorSettings())(scope, receive, send))
        await began.wait()
        left.set()
        async with asyncio.timeout(EVENT_S):
            await guarded
        return ended[-1]

    assert await serve(begins=True) == "told"
    assert await serve(begins=False) == "cancelled"


async def test_door_hears_of_jobs_only_while_it_has_one_to_be_confirmed(world: World) -> None:
    """What the server says of a caller's jobs is not listened to for longer than needed."""
    alice = Holder.of(world, "alice")
    async with open_door(world) as door:
        db = through(world, door, "alice", alice.prove)
        await asyncio.gather(*(db.collection("notes").submit.insert({"n": n}) for n in range(5)))
        assert door.jobs._held == {}
        await db.collection("notes").submit.insert({"n": 5})
        assert door.jobs._held == {}
        assert _listeners(door) == set()


def _listeners(door: DoorTransport) -> set[str]:
    subscriptions = door._connection._sids
    return {each.subject for each in subscriptions if ".stored." in each.subject}
