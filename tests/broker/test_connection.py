from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nats.errors
import pytest

from mallku_broker.connection import ConnectionSettings, connect
from mallku_broker.events import ConnectionLost, EventKind
from mallku_broker.files import write_private_text
from mallku_broker.nkeys import new_nkey
from mallku_broker.server import EmbeddedServer
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable, MessageTooLarge
from mallku_contracts.limits import MAX_PAYLOAD_BYTES, MIB
from mallku_contracts.subjects import inbox_prefix
from tests.support.nats import (
    WORKER_BUS,
    WORKER_RECORDS,
    NatsHouse,
    Witness,
    nats_house,
    prefix_of,
)

GET = "mallku.v1.cmd.mallku.db.anchors.get"
PATTERN = "mallku.v1.cmd.*.*.*.get"
QUEUE = "mallku.read"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def _connect(settings: ConnectionSettings) -> None:
    connection = await connect(settings, name="test", inbox_prefix=inbox_prefix("mallku"))
    await connection.close()


async def test_nobody_there_lists_what_was_tried_within_the_timeout() -> None:
    """Without a broker, the error names each address and what it said, in time."""
    ports = [_free_port(), _free_port()]
    url = ", ".join(f"nats://127.0.0.1:{port}" for port in ports)
    async with asyncio.timeout(3):
        with pytest.raises(GatewayUnreachable) as caught:
            await _connect(ConnectionSettings(url=url, connect_timeout_s=0.5))
    assert "within 0.5 s" in caught.value.message
    for port in ports:
        assert f"127.0.0.1:{port}: " in caught.value.message
    assert "refused" in caught.value.message or "Connect call failed" in caught.value.message


async def test_a_listener_that_says_nothing_is_given_up() -> None:
    """A port that accepts and then is silent does not hold us beyond the connect timeout."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"nats://127.0.0.1:{listener.getsockname()[1]}"
        async with asyncio.timeout(3):
            with pytest.raises(GatewayUnreachable):
                await _connect(ConnectionSettings(url=url, connect_timeout_s=0.3))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nats://user:hunter2@127.0.0.1:4222", "credentials belong in a file"),
        ("http://127.0.0.1:4222", "expected nats://"),
        ("nats://", "expected nats://"),
        ("nats://127.0.0.1:port", "not the URL"),
        ("", "expected nats://"),
    ],
)
def test_a_bad_url_is_refused_and_its_password_not_shown(url: str, says: str) -> None:
    """What is no broker's URL is refused when the settings are made, without any secret in it."""
    with pytest.raises(ConfigurationError, match=says) as caught:
        ConnectionSettings(url=url)
    assert "hunter2" not in str(caught.value)


async def test_unknown_credentials_are_refused_at_once(house: NatsHouse, tmp_path: Path) -> None:
    """A key that the broker does not know ends the attempt early and names the file."""
    seed, _ = new_nkey()
    path = tmp_path / "stranger.nkey"
    write_private_text(path, seed)
    async with asyncio.timeout(5):
        with pytest.raises(ConfigurationError, match=r"refuses us.*stranger\.nkey") as caught:
            await _connect(house.settings("mallku", credentials=path, connect_timeout_s=30))
    assert seed not in str(caught.value)


async def test_nobody_connects_without_a_key(house: NatsHouse) -> None:
    """The broker lets nobody in who shows no credentials."""
    with pytest.raises(ConfigurationError, match="no credentials file was given"):
        await _connect(house.settings("mallku", credentials=None))


def _open_to_others(path: Path) -> None:
    path.chmod(0o640)


def _no_key(path: Path) -> None:
    write_private_text(path, "SUANOTAKEY")


def _one_letter_off(path: Path) -> None:
    text = path.read_text("utf-8")
    write_private_text(path, text[:20] + ("A" if text[20] != "A" else "B") + text[21:])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_open_to_others, r"mode 0640.*chmod 600"),
        (Path.unlink, "No such file"),
        (_no_key, "neither NATS credentials nor the seed"),
        (_one_letter_off, "neither NATS credentials nor the seed"),
    ],
)
async def test_a_spoilt_credentials_file_is_named(
    house: NatsHouse, tmp_path: Path, spoil: Callable[[Path], None], says: str
) -> None:
    """The error says which file, what is wrong with it, and holds nothing of the seed."""
    seed, _ = new_nkey()
    path = tmp_path / "me.nkey"
    write_private_text(path, seed)
    spoil(path)
    with pytest.raises(ConfigurationError, match=says) as caught:
        await _connect(house.settings("mallku", credentials=path))
    assert str(path) in caught.value.message
    assert seed[:12] not in caught.value.message


async def test_tls_is_not_given_up_for_a_server_without_it(house: NatsHouse) -> None:
    """Asked for TLS, we do not go on in the clear with a server that offers none."""
    url = house.url.replace("nats://", "tls://")
    with pytest.raises(ConfigurationError, match="offers no TLS"):
        await _connect(house.settings("mallku", url=url))


async def test_an_error_of_the_server_leads_to_a_reconnect(house: NatsHouse) -> None:
    """Cut off for too large a message, the connection comes back, where nats-py stays closed."""
    witness = Witness()
    async with house.connection("mallku", on_event=witness) as caller:
        headers = {"Large": "x" * 100}
        await caller.publish(GET, b"x" * MAX_PAYLOAD_BYTES, headers=headers)
        await witness.sees(EventKind.DISCONNECTED)
        await witness.sees(EventKind.RECONNECTED)
        await caller.flush()
        assert EventKind.CLOSED not in witness.kinds


async def test_post_measures_headers_as_well(house: NatsHouse) -> None:
    """`post` refuses what the server would cut us off for."""
    async with house.connection("mallku") as caller:
        with pytest.raises(MessageTooLarge, match="with its headers"):
            caller.post(GET, b"x" * MAX_PAYLOAD_BYTES, header=b"NATS/1.0\r\nA: b\r\n\r\n")


async def test_a_ping_that_nobody_waits_for_any_more_does_no_harm(tmp_path: Path) -> None:
    """After a flush that timed out the reader lives on; nats-py's would have ended."""
    async with nats_house(tmp_path, streams=False) as house:
        witness = Witness()
        async with (
            house.connection(WORKER_BUS) as worker,
            house.connection("mallku", on_event=witness) as caller,
        ):
            await worker.listen(PATTERN, lambda _s, r, b, _h: worker.post(r, b), queue=QUEUE)
            await worker.flush()
            await house.freeze()
            with pytest.raises(nats.errors.FlushTimeoutError):
                await caller.flush(timeout=0.1)  # type: ignore[arg-type]  # any number
            house.thaw()
            for _ in range(3):
                await caller.flush()
            assert (await caller.request(GET, b"here", timeout=5)).data == b"here"
            assert witness.events == []


async def test_a_dead_peer_is_left_although_it_takes_nothing(tmp_path: Path) -> None:
    """A frozen server with our bytes stuck in between is dropped, and the next server is used."""
    async with nats_house(tmp_path / "a", streams=False) as house:
        spare = replace(
            house.server.configuration, port=0, store=tmp_path / "b" / "streams", server_name="b"
        )
        async with EmbeddedServer(spare, tmp_path / "b") as other:
            witness = Witness()
            first = house.settings("mallku", ping_interval_s=0.2, attempt_timeout_s=0.5)
            async with house.connection(
                "mallku", on_event=witness, ping_interval_s=0.2, attempt_timeout_s=0.5
            ) as caller:
                assert first.url == house.url
                caller.set_server_pool([house.url, other.url])
                await house.freeze()
                try:
                    for _ in range(8):
                        caller.post(GET, b"x" * (4 * MIB))
                    await witness.sees(EventKind.RECONNECTED)
                    await caller.flush()
                    assert caller.connected_url is not None
                    assert caller.connected_url.port == other.port
                finally:
                    house.thaw()


async def test_a_connection_waits_for_its_server_without_end(tmp_path: Path) -> None:
    """Many failed tries later the server is back, and so are connection and subscriptions."""
    async with nats_house(tmp_path, streams=False) as house:
        witness = Witness()
        async with house.connection(
            WORKER_BUS, on_event=witness, reconnect_min_wait_s=0.005, reconnect_max_wait_s=0.02
        ) as worker:
            heard: asyncio.Queue[bytes] = asyncio.Queue()
            await worker.listen(PATTERN, lambda _s, _r, b, _h: heard.put_nowait(b), queue=QUEUE)
            await house.server.stop()
            await witness.sees(EventKind.DISCONNECTED)
            with pytest.raises(ConnectionLost, match="not connected"):
                worker.post("_INBOX_mallku.x.y", b"")
            await witness.sees(EventKind.ERROR, times=80)
            await house.server.start()
            await witness.sees(EventKind.RECONNECTED)
            async with house.connection("mallku") as caller:
                caller.post(GET, b"after")
                assert await asyncio.wait_for(heard.get(), 5) == b"after"


async def test_waits_between_tries_grow_with_jitter_up_to_their_bound(house: NatsHouse) -> None:
    """The wait doubles with each failure, never passes the longest, and is never the same."""
    async with house.connection("mallku") as caller:
        server = caller.server_pool[0]
        waits = {
            tries: {
                caller._next_server([replace(server, reconnects=tries)], {})[1] for _ in range(50)
            }
            for tries in (0, 3, 1000)
        }
        low, high = caller._settings.reconnect_min_wait_s, caller._settings.reconnect_max_wait_s
        assert low / 2 <= min(waits[0]) < max(waits[0]) <= low
        assert low * 4 <= min(waits[3]) < max(waits[3]) <= low * 8
        assert high / 2 <= min(waits[1000]) < max(waits[1000]) <= high


async def test_retiring_delivers_what_came_and_then_nothing(house: NatsHouse) -> None:
    """What was sent before `retire` is heard before it returns; what comes later goes elsewhere."""
    async with (
        house.connection(WORKER_BUS) as leaving,
        house.connection(WORKER_BUS) as staying,
        house.connection("mallku") as caller,
    ):
        heard: list[bytes] = []
        subscription = await leaving.listen(
            PATTERN, lambda _s, _r, body, _h: heard.append(body), queue=QUEUE
        )
        await leaving.flush()
        for number in range(200):
            caller.post(GET, str(number).encode())
        await caller.flush()
        await leaving.retire([subscription])
        assert [int(body) for body in heard] == list(range(200))
        await staying.listen(PATTERN, lambda _s, r, b, _h: staying.post(r, b), queue=QUEUE)
        await staying.flush()
        for _ in range(20):
            assert (await caller.request(GET, b"later", timeout=5)).data == b"later"
        assert len(heard) == 200


async def test_retiring_while_down_subscribes_to_nothing_again(tmp_path: Path) -> None:
    """A worker that left while the server was away takes no command after its return."""
    async with nats_house(tmp_path, streams=False) as house:
        witness = Witness()
        async with house.connection(WORKER_BUS, on_event=witness) as worker:
            subscription = await worker.listen(PATTERN, lambda *_: None, queue=QUEUE)
            await house.server.stop()
            await witness.sees(EventKind.DISCONNECTED)
            await worker.retire([subscription])
            await house.server.start()
            await witness.sees(EventKind.RECONNECTED)
            async with house.connection("mallku") as caller:
                with pytest.raises(nats.errors.NoRespondersError):
                    await caller.request(GET, b"", timeout=5)


async def test_a_refusal_names_its_subject(house: NatsHouse) -> None:
    """A permission that is missing becomes an event with the subject, and nothing else breaks."""
    witness = Witness()
    async with house.connection("mallku", on_event=witness) as caller:
        caller.post("mallku.v1.cmd.mallory.db.x.get", b"")
        event = await witness.sees(EventKind.REFUSED)
        assert event.subject == "mallku.v1.cmd.mallory.db.x.get"
        assert event.connection == "mallku"
        await caller.flush()


async def test_flush_comes_after_what_was_sent_before_it() -> None:
    """A subscription reaches the server before the ping that answers for it."""
    lines: list[bytes] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"max_payload": 1024}\r\n')
        while line := await reader.readline():
            lines.append(line.partition(b" ")[0].strip())
            if line == b"PING\r\n":
                writer.write(b"PONG\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        settings = ConnectionSettings(url=f"nats://127.0.0.1:{port}")
        connection = await connect(settings, name="test", inbox_prefix=inbox_prefix("mallku"))
        subscription = await connection.listen("a", lambda *_: None)
        await connection.flush()
        await connection.retire([subscription])
        await connection.close()
    assert lines == [b"CONNECT", b"PING", b"SUB", b"PING", b"UNSUB", b"PING"]


async def test_close_is_bounded_with_a_frozen_server(tmp_path: Path) -> None:
    """`close` returns in time although the server takes nothing any more."""
    async with nats_house(tmp_path, streams=False) as house:
        caller = await house.connect("mallku", close_timeout_s=0.3)
        await house.freeze()
        try:
            for _ in range(8):
                caller.post(GET, b"x" * (4 * MIB))
            async with asyncio.timeout(3):
                await caller.close()
        finally:
            house.thaw()


async def test_nothing_is_heard_on_ones_own(house: NatsHouse) -> None:
    """A connection does not get back what it sent itself."""
    async with house.connection(WORKER_RECORDS) as records:
        prefix = prefix_of(WORKER_RECORDS)
        heard: list[bytes] = []
        await records.listen(f"{prefix}.>", lambda _s, _r, body, _h: heard.append(body))
        records.post("mallku.v1.dead.x", b"", reply=f"{prefix}.one")
        await records.flush()
        assert records.options["no_echo"]


async def test_a_burst_leaves_in_order_while_it_is_made(house: NatsHouse) -> None:
    """Whatever leaves at once and whatever waits, large and small: order is kept, all arrives."""
    async with house.connection(WORKER_BUS) as worker, house.connection("mallku") as caller:
        heard: list[int] = []
        await worker.listen(PATTERN, lambda _s, _r, b, _h: heard.append(int(b[:6])), queue=QUEUE)
        await worker.flush()
        for number in range(3_000):
            filler = b"x" * (100_000 if number % 500 == 0 else 10)
            caller.post(GET, f"{number:06}".encode() + filler)
        assert len(caller._pending) < 3_000, "nothing left before the loop came round"
        await caller.flush()
        await worker.flush()
        assert heard == list(range(3_000))


async def test_a_burst_against_a_frozen_peer_is_kept_within_bounds(house: NatsHouse) -> None:
    """What the operating system does not take waits here, where `congested` counts it."""
    async with house.connection("mallku", pending_bytes=MIB) as caller:
        await house.freeze()
        try:
            sent = 0
            while not caller.congested:
                caller.post(GET, b"x" * 10_000)
                sent += 1
                assert sent < 5_000
            assert caller._wire.idle is False
        finally:
            house.thaw()
        async with asyncio.timeout(10):
            await caller.relief()
