"""The client over a real NATS server, with somebody who answers as a worker does."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from mallku_broker.connection import GatewayConnection
from mallku_broker.headers import decode_headers
from mallku_broker.permissions import READ_QUEUE, WRITE_QUEUE
from mallku_broker.server import EmbeddedServer
from mallku_client import ClientSettings, SecuredDatabaseInterface
from mallku_client.nats_transport import NatsTransport
from mallku_contracts.errors import (
    ConfigurationError,
    DeadlineExceeded,
    GatewayUnreachable,
    OutcomeUnknown,
    PermissionDenied,
)
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.subjects import command_pattern
from tests.client.world import MemoryGateway, World
from tests.support.nats import WORKER_BUS, NatsHouse, nats_house, until


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[NatsHouse]:
    """A server of this test's own, with accounts, users and permissions."""
    async with nats_house(tmp_path / "nats", streams=False) as running:
        yield running


class Worker:
    """Answers commands that arrive over a worker's connection; keeps the headers it saw."""

    def __init__(self, connection: GatewayConnection, gateway: MemoryGateway) -> None:
        self.connection = connection
        self.gateway = gateway
        self.headers: list[dict[str, str]] = []
        self.arrived = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen for a read and a write."""
        for name in ("get", "insert"):
            queue = WRITE_QUEUE if OPERATIONS[name].mutates else READ_QUEUE
            await self.connection.listen(command_pattern(name), self._take, queue=queue)
        await self.connection.flush()

    def _take(self, subject: str, reply: str, body: bytes, header: bytes | None) -> None:
        self.headers.append(decode_headers(header))
        self.arrived.set()
        task = asyncio.create_task(self._answer(subject, reply, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, subject: str, reply: str, body: bytes) -> None:
        data = await self.gateway.handle(subject, body)
        if data is not None:
            self.connection.post(reply, data)


@pytest_asyncio.fixture
async def worker(house: NatsHouse, world: World) -> AsyncIterator[Worker]:
    """Somebody who answers."""
    async with house.connection(WORKER_BUS) as connection:
        running = Worker(connection, world.gateway)
        await running.start()
        yield running


def _settings(house: NatsHouse, world: World, who: str = "mallku") -> ClientSettings:
    return world.settings.override(url=house.url, nats_credentials=house.credentials[who])


async def test_insert_and_get_over_nats(house: NatsHouse, world: World, worker: Worker) -> None:
    """Signed command out, signed reply back, many at a time, and no headers unless asked for."""
    async with await SecuredDatabaseInterface.connect(settings=_settings(house, world)) as db:
        anchors = db.collection("anchors")
        keys = [str(n) for n in range(100)]
        await asyncio.gather(*(anchors.insert({"_key": key}) for key in keys))
        documents = await asyncio.gather(*(anchors.get(key) for key in keys))
        assert [document and document["_key"] for document in documents] == keys
    assert worker.headers == [{}] * 200


async def test_headers_mirror_what_people_want_to_see(
    house: NatsHouse, world: World, worker: Worker
) -> None:
    """With `mirror_headers` a command shows its id and operation to tools."""
    settings = _settings(house, world).override(mirror_headers=True)
    async with await SecuredDatabaseInterface.connect(settings=settings) as db:
        await db.collection("anchors").get("a")
    command_id = world.gateway.seen[0].header.id
    assert worker.headers == [{"Mallku-Id": command_id, "Mallku-Operation": "get"}]


async def test_without_workers_it_is_quick(house: NatsHouse, world: World) -> None:
    """Nobody listens: a few attempts, then `GatewayUnreachable`, for writes too; no waiting."""
    async with await SecuredDatabaseInterface.connect(settings=_settings(house, world)) as db:
        begin = time.monotonic()
        for call in (db.collection("a").get("a"), db.collection("a").insert({})):
            with pytest.raises(GatewayUnreachable, match=r"nobody listens.*attempts: 5"):
                await call
        assert time.monotonic() - begin < 5


async def test_the_brokers_refusal_is_a_refusal(house: NatsHouse, world: World) -> None:
    """A subject that the broker's lock forbids is `PermissionDenied` at once."""
    async with await SecuredDatabaseInterface.connect(settings=_settings(house, world)) as db:
        with pytest.raises(PermissionDenied, match="truncate mallku/anchors: the broker refused"):
            await db.collection("anchors").truncate()


async def test_a_server_that_dies_leaves_a_mutation_unknown(
    house: NatsHouse, world: World, worker: Worker
) -> None:
    """The connection breaks while a write is under way: unknown, long before a timeout's end."""

    async def silence(gateway: MemoryGateway, command: object) -> bytes | None:
        return None

    world.gateway.script = [silence] * 9
    async with await SecuredDatabaseInterface.connect(settings=_settings(house, world)) as db:
        call = asyncio.create_task(db.collection("anchors").insert({}, timeout=2))
        await worker.arrived.wait()
        await house.server.stop()
        with pytest.raises(OutcomeUnknown):
            await call
        with pytest.raises((GatewayUnreachable, DeadlineExceeded)):
            await db.collection("anchors").get("a", timeout=0.3)


async def test_without_a_gateway_the_error_says_what_was_tried(world: World) -> None:
    """Nothing listens on the port: an error within the connect timeout, with the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"nats://127.0.0.1:{taken.getsockname()[1]}"
        begin = time.monotonic()
        with pytest.raises(GatewayUnreachable, match=url.removeprefix("nats://")):
            await SecuredDatabaseInterface.connect(
                settings=world.settings.override(url=url, connect_timeout_s=0.5)
            )
        assert time.monotonic() - begin < 1.5


@pytest.mark.parametrize("url", ["ftp://gateway:8080", "gateway", "nats://", "nats://a:x"])
async def test_a_url_that_is_none_is_told(world: World, url: str) -> None:
    """Whatever is no NATS URL is refused before any connection is tried."""
    with pytest.raises(ConfigurationError, match=r"URL|expected nats"):
        await SecuredDatabaseInterface.connect(settings=world.settings.override(url=url))


async def test_wrong_credentials_are_told(house: NatsHouse, world: World, tmp_path: Path) -> None:
    """An nkey that the broker does not know is a mistake in the settings, with the file's name."""
    from mallku_broker.files import write_private_text
    from mallku_broker.nkeys import new_nkey

    write_private_text(tmp_path / "stranger.nkey", new_nkey()[0])
    settings = _settings(house, world).override(nats_credentials=tmp_path / "stranger.nkey")
    with pytest.raises(ConfigurationError, match=r"stranger\.nkey"):
        await SecuredDatabaseInterface.connect(settings=settings)


@pytest_asyncio.fixture
async def second(house: NatsHouse, world: World, tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """Another server for the same people, with somebody who answers there too."""
    folder = tmp_path / "second"
    folder.mkdir(mode=0o700)
    configuration = replace(house.server.configuration, store=folder / "streams", port=0)
    async with (
        EmbeddedServer(configuration, folder) as server,
        house.connection(WORKER_BUS, url=server.url) as connection,
    ):
        await Worker(connection, world.gateway).start()
        yield server


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_another_server_takes_over(
    house: NatsHouse, world: World, worker: Worker, second: EmbeddedServer, fault: str
) -> None:
    """With several URLs, calls go on over the next server when one dies, or hangs.

    The retry is signed anew and bears the same key; no call fails.
    """
    settings = _settings(house, world).override(url=f"{house.url},{second.url}")
    async with await SecuredDatabaseInterface.connect(settings=settings) as db:
        anchors = db.collection("anchors")
        await anchors.insert({"_key": "before"})
        if fault == "kill":
            house.kill()
        else:
            await house.freeze()
        try:
            await anchors.insert({"_key": "after"}, timeout=20)
            assert await anchors.get("before")
        finally:
            if fault == "freeze":
                house.thaw()
    sent = [command.header for command in world.gateway.seen if command.header.op == "insert"]
    assert len({header.id for header in sent}) == len(sent)
    assert sent[-1].idem == sent[-1].id or sent[-1].attempt > 1


async def test_errors_are_quick_while_the_gateway_is_away(
    house: NatsHouse, world: World, worker: Worker
) -> None:
    """A call of which nothing left fails within a second, and then each at once.

    When the server is back, the first call finds out.
    """
    async with await SecuredDatabaseInterface.connect(settings=_settings(house, world)) as db:
        anchors = db.collection("anchors")
        await anchors.insert({"_key": "a"})
        house.kill()
        await until(lambda: not transport_of(db).is_up)
        took = []
        for _ in range(4):
            begin = time.monotonic()
            with pytest.raises(GatewayUnreachable):
                await anchors.get("a")
            took.append(time.monotonic() - begin)
        assert max(took) < 5.0  # the usual timeout is 10 s
        assert took[-1] < 0.5  # the first finds out for 0.8 s
        await house.server.stop()
        await house.server.start()
        await until(lambda: transport_of(db).is_up and worker.connection.is_up)
        assert await anchors.get("a")


def transport_of(db: SecuredDatabaseInterface) -> NatsTransport:
    """What a client talks over."""
    transport = db._commands._caller._transport
    assert isinstance(transport, NatsTransport)
    return transport
