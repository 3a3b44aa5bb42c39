"""What a question to the JetStream API outlasts, on a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from mallku_broker import jetstream
from mallku_broker.accounts import Account, Permissions, User
from mallku_broker.configuration import ServerConfiguration
from mallku_broker.connection import ConnectionSettings, GatewayConnection, connect
from mallku_broker.files import write_private_text
from mallku_broker.jetstream import ApiError, ask, ask_formed
from mallku_broker.nkeys import new_nkey
from mallku_broker.server import EmbeddedServer
from mallku_contracts.errors import GatewayUnreachable

API = "api"


@asynccontextmanager
async def _two(folder: Path) -> AsyncGenerator[tuple[GatewayConnection, GatewayConnection]]:
    """Somebody who asks, and somebody who may answer: a connection does not hear itself."""
    seed, public = new_nkey()
    write_private_text(folder / "nkey", seed)
    user = User("anybody", public, Account.MALLKU, Permissions((">",), (">",)))
    configuration = ServerConfiguration(folder / "streams", (user,), port=0)
    async with EmbeddedServer(configuration, folder) as server:
        settings = ConnectionSettings(url=server.url, credentials=folder / "nkey")
        asking = await connect(settings, name="asking", inbox_prefix="_INBOX_asking")
        answering = await connect(settings, name="answering", inbox_prefix="_INBOX_answering")
        try:
            yield asking, answering
        finally:
            await asking.close()
            await answering.close()


async def _answer(message: Msg) -> None:
    await message.respond(b'{"heard": true}')


async def test_a_question_that_nobody_hears_yet_is_asked_again(tmp_path: Path) -> None:
    """A server that reloads has no responder for a moment; who asks then is answered after it."""
    async with _two(tmp_path) as (asking, answering):
        asked = asyncio.create_task(ask(asking, "INFO", {}, api=API))
        await asyncio.sleep(2 * jetstream.NOBODY_AGAIN_S)
        await answering.subscribe(f"{API}.INFO", cb=_answer)
        assert await asked == {"heard": True}


async def test_a_question_that_nobody_ever_hears_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tries are counted, and the error says that nobody was there."""
    monkeypatch.setattr(jetstream, "NOBODY_AGAIN_S", 0.0)
    async with _two(tmp_path) as (asking, _):
        with pytest.raises(GatewayUnreachable, match="NoRespondersError"):
            await ask(asking, "INFO", {}, api=API)


async def test_a_cluster_that_forms_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too few servers for a stream are more servers a moment later."""
    monkeypatch.setattr(jetstream, "FORMING_AGAIN_S", 0.0)
    refusals = iter(range(3))

    async def answer(message: Msg) -> None:
        refused = {"error": {"err_code": jetstream.NO_PEERS, "description": "no suitable peers"}}
        told = refused if next(refusals, None) is not None else {"config": {}}
        await message.respond(json.dumps(told).encode())

    async with _two(tmp_path) as (asking, answering):
        await answering.subscribe(f"{API}.STREAM.CREATE.S", cb=answer)
        await answering.flush()
        assert await ask_formed(asking, "STREAM.CREATE.S", {}, api=API) == {"config": {}}
        assert next(refusals, None) is None


async def test_a_cluster_that_stays_too_small_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience ends, with the server's own words."""
    monkeypatch.setattr(jetstream, "FORMING_S", 0.0)

    async def refuse(message: Msg) -> None:
        await message.respond(b'{"error": {"err_code": 10005, "description": "no suitable peers"}}')

    async with _two(tmp_path) as (asking, answering):
        await answering.subscribe(f"{API}.STREAM.CREATE.S", cb=refuse)
        await answering.flush()
        with pytest.raises(ApiError, match="no suitable peers"):
            await ask_formed(asking, "STREAM.CREATE.S", {}, api=API)
