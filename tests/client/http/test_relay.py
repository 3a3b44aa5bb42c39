"""The ordinary client over HTTP: the same names, the same signatures at both ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from mallku_client import SecuredDatabaseInterface, sync
from mallku_client.caller import GATEWAY_TIME
from mallku_client.http_transport import COMMAND_TYPE, REPLY_TYPE
from mallku_client.transport import NoAnswer
from mallku_contracts.envelope import CommandHeader, Envelope
from mallku_contracts.errors import (
    CommandFromFuture,
    ConfigurationError,
    DocumentNotFound,
    GatewayUnreachable,
    PermissionDenied,
    StaleCommand,
    UnverifiedReply,
)
from tests.client.http.stage import Holder
from tests.integration.world import World
from tests.support.simulated_caller import now_ms

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def connect(world: World, url: str, principal: str = "mallku") -> SecuredDatabaseInterface:
    """A client that knows nothing of NATS."""
    settings = world.client_settings(principal)
    return await SecuredDatabaseInterface.connect(
        settings=replace(settings, url=url, nats_credentials=None)
    )


async def test_client_works_over_http_as_over_nats(world: World, url: str) -> None:
    """Documents, queries with pages, errors and receipts are what they are over NATS."""
    async with await connect(world, url) as db:
        anchors = db.collection("memory_anchors")
        answers: list[Any] = []
        await anchors.insert({"_key": "over", "over": "http"}, on_answer=answers.append)
        assert answers[0].receipt_bundle
        assert await anchors.get("over")
        await anchors.insert_many([{"paged": n} for n in range(25)])
        cursor = await db.aql.execute("FOR a IN memory_anchors RETURN a", batch_size=10)
        assert len(await cursor.all()) > 25
        with pytest.raises(DocumentNotFound):
            await anchors.delete("missing")
        many = await asyncio.gather(*(anchors.insert({"n": n}) for n in range(60)))
        assert len(many) == 60
        with pytest.raises(ConfigurationError, match="cannot submit jobs"):
            await anchors.submit.insert({})


async def test_blocking_client_works_over_http(world: World, url: str) -> None:
    """The same names without `await`, and several threads at once."""
    settings = replace(world.client_settings("mallku"), url=url, nats_credentials=None)

    def work(number: int) -> int:
        with sync.SecuredDatabaseInterface.connect(settings=settings) as db:
            db.collection("memory_anchors").insert({"blocking": number})
            return db.collection("memory_anchors").count({"blocking": number})

    assert await asyncio.gather(*(asyncio.to_thread(work, n) for n in range(3))) == [1, 1, 1]


async def test_command_stays_the_callers_own(world: World, url: str) -> None:
    """What went through the door bears the caller's signature alone: the trail names no door."""
    async with await connect(world, url) as db:
        answer = await db.command("insert", "memory_anchors", {"document": {"mine": True}})
    trail = await world.trail()
    (intent,) = (each for each in trail.records if each.id == answer.id and each.kind == "intent")
    assert intent.via == {}
    assert intent.kid == Holder.of(world, "mallku").key.kid


async def test_door_passes_nothing_on_for_others(world: World, url: str) -> None:
    """Whom the door does not act for is told so."""
    async with await connect(world, url, "outsider") as db:
        with pytest.raises(PermissionDenied):
            await db.collections()


async def test_what_nobody_signed_is_not_passed_on(world: World, url: str) -> None:
    """Junk, altered commands and such for another subject are refused at the door."""
    sent = world.caller("mallku").seal("insert", {"document": {}}, "memory_anchors")
    stranger = world.caller("mallku").seal("count", {}, key=Holder.of(world, "alice").key)
    headers = {"Content-Type": COMMAND_TYPE}
    other = str(sent.subject).replace("memory_anchors", "notes")
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        for subject, data, status in (
            (sent.subject, b"junk", 400),
            (sent.subject, sent.data[:-1] + b"x", 401),
            (other, sent.data, 400),
            (stranger.subject, stranger.data, 401),
            ("mallku.v1.audit.mallku.a.b.c.done", sent.data, 400),
            ("$JS.API.STREAM.DELETE.MALLKU_AUDIT", sent.data, 400),
        ):
            refused = await client.post(f"/api/v1/relay/{subject}", content=data)
            assert refused.status_code == status, (subject, refused.text)
        plain = await client.post(
            f"/api/v1/relay/{sent.subject}", content=sent.data, headers={"Content-Type": "a/b"}
        )
        assert plain.status_code == 400


@asynccontextmanager
async def liar(status: str, kind: str, body: bytes) -> AsyncGenerator[tuple[str, list[bytes]]]:
    """A server in a door's place that answers everything alike: its URL, and what it was sent."""
    sent: list[bytes] = []

    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        sent.append(await reader.readexactly(length))
        said = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(said.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(lie, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", sent


async def test_reply_that_no_worker_signed_is_not_believed(world: World) -> None:
    """Whoever answers in the door's place can neither invent a result nor say that it was done."""
    body = b"\x94\xc4\x01\x80\xc4\x01\x80\xc4\x00\xc4\x00"
    async with liar("200 OK", REPLY_TYPE, body) as (url, _), await connect(world, url) as db:
        with pytest.raises((UnverifiedReply, NoAnswer, GatewayUnreachable)):
            await db.collection("memory_anchors").get("x", timeout=1.0)


@pytest.mark.parametrize("claimed", [590_000, -590_000, "soon"])
@pytest.mark.parametrize("code", ["command_from_future", "stale_command"])
async def test_time_that_a_door_claims_moves_no_clock(
    world: World, code: str, claimed: int | str
) -> None:
    """Nobody signed it: the refusal stands, is told as it is, and the next command has our time."""
    at = now_ms() + claimed if isinstance(claimed, int) else claimed
    problem = json.dumps({"code": code, "details": {GATEWAY_TIME: at}}).encode()
    async with (
        liar("400 Bad Request", "application/problem+json", problem) as (url, sent),
        await connect(world, url) as db,
    ):
        for _ in range(2):
            with pytest.raises((CommandFromFuture, StaleCommand)) as caught:
                await db.collection("memory_anchors").get("x")
            assert GATEWAY_TIME not in caught.value.details
    signed = [CommandHeader.read(Envelope.split(each).protected).iat for each in sent]
    assert len(signed) == 2
    assert all(abs(each - now_ms()) < 120_000 for each in signed)


async def test_nobody_at_the_url_is_said_at_once(world: World) -> None:
    """Connecting where no door is fails with the place; a URL that is none is named."""
    with pytest.raises(GatewayUnreachable, match=r"127\.0\.0\.1:9"):
        await connect(world, "http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="not a door's URL"):
        await connect(world, "http://")
