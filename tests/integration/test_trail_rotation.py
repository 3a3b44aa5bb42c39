"""The trail goes on in another stream: under load, past replays, and for whoever reads it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from mallku_broker.administrators import load_administrators
from mallku_broker.files import write_private_text
from mallku_broker.generations import generations
from mallku_broker.jetstream import ask
from mallku_broker.rotation import Rotated, rotate
from mallku_broker.streams import generation
from mallku_broker.trust import load_trust
from mallku_client import SecuredDatabaseInterface
from mallku_client.trail import AuditReader, Selection
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable, MallkuError
from mallku_contracts.keys import SigningKey
from mallku_deploy.auditing.export import Order, export_trail
from mallku_deploy.auditing.exported import ExportedTrail
from mallku_deploy.auditing.rotate import rotate_trail
from mallku_deploy.auditing.verify import Order as VerifyOrder
from mallku_deploy.auditing.verify import verify_trail
from tests.integration.world import World, exchange, running_world, until
from tests.support.simulated_caller import now_ms

pytestmark = pytest.mark.asyncio(loop_scope="session")

AT_ONCE = 8


@pytest_asyncio.fixture(loop_scope="session")
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A gateway with two workers and a collection."""
    async with running_world(tmp_path / "house") as world:
        async with world.client() as client:
            await client.create_collection("memory_anchors")
        yield world


async def _rotate(world: World) -> Rotated:
    return await rotate_trail(world.administrator_settings())


async def _insert(client: SecuredDatabaseInterface, key: str) -> None:
    await client.collection("memory_anchors").insert({"_key": key})


class Load:
    """Inserts from several sides until it is stopped; what was acknowledged, and what was not."""

    def __init__(self, client: SecuredDatabaseInterface) -> None:
        self.done: list[str] = []
        self.refused: Counter[str] = Counter()
        self._client = client
        self._running = True

    async def run(self) -> None:
        """Insert until `stop`."""
        await asyncio.gather(*(self._side(number) for number in range(AT_ONCE)))

    def stop(self) -> None:
        """Let what is under way be the last."""
        self._running = False

    async def _side(self, side: int) -> None:
        number = 0
        while self._running:
            key, number = f"k-{side}-{number}", number + 1
            try:
                await _insert(self._client, key)
            except MallkuError as error:
                self.refused[error.code] += 1
            else:
                self.done.append(key)


@pytest.mark.timeout(180)
async def test_nothing_is_lost_while_the_trail_goes_on_elsewhere(world: World) -> None:
    """Twice, under load: what was acknowledged is stored, on the trail, once, and it verifies."""
    async with world.client() as client:
        load = Load(client)
        running = asyncio.create_task(load.run())
        made: list[Rotated] = []
        for _ in range(2):
            before = len(load.done)
            await until("some inserts", lambda: len(load.done) > before + 50)  # noqa: B023
            made.append(await _rotate(world))
            after = len(load.done)
            await until("inserts again", lambda: len(load.done) > after + 50)  # noqa: B023
        load.stop()
        await running
        stored = await client.collection("memory_anchors").count()
    assert [each.stream for each in made] == [generation(2), generation(3)]
    assert not load.refused, load.refused
    assert stored == len(load.done)
    trail = await world.trail()
    inserted = [each for each in trail.records if each.kind == "done" and each.effects]
    keys = Counter(str(each.effects[0]["key"]) for each in inserted)
    assert set(keys) == set(load.done)
    assert set(keys.values()) == {1}
    report = await world.verify()
    assert report.findings.accusations == []
    assert (report.first, report.records) == (1, report.last)


async def test_a_replay_across_the_seam_is_not_executed(world: World) -> None:
    """The new stream never saw the transmission; by every worker it is refused all the same."""
    async with world.connection() as connection:
        sent = world.caller().seal("insert", {"document": {"_key": "once"}})
        assert (await exchange(connection, sent)).result
        await _rotate(world)
        seen: Counter[str] = Counter()
        async with asyncio.timeout(20):
            while seen["replayed"] < 12:
                answer = await exchange(connection, sent)
                seen[answer.error.code if "error" in answer.body else "done"] += 1
    assert not seen.keys() - {"replayed", "audit_unavailable"}, seen
    intents = [each for each in (await world.trail()).records if each.id == sent.header.id]
    assert Counter(each.kind for each in intents)["done"] == 1
    assert Counter(each.kind for each in intents)["intent"] == 1


async def test_a_worker_that_starts_behind_the_seam_knows_what_came_before(world: World) -> None:
    """Its own memory is empty, and its stream's too: it reads what the sealed one has seen."""
    async with world.connection() as connection:
        sent = world.caller().seal("insert", {"document": {"_key": "once"}})
        assert (await exchange(connection, sent)).result
        await _rotate(world)
        for pid in list(world.workers.values()):
            lost = len(world.losses)
            os.kill(pid, signal.SIGKILL)
            await until("its end", lambda: len(world.losses) > lost)  # noqa: B023
            await world.replaced(pid)
        for _ in range(6):
            error = (await exchange(connection, sent)).error
            assert error.code in ("replayed", "audit_unavailable")


async def test_whoever_follows_the_trail_goes_on_with_it(world: World) -> None:
    """Every record once, in order, over the seam; the first one there says what was before it."""
    settings = world.client_settings("auditor")
    async with world.client() as client, await AuditReader.connect(settings=settings) as reader:
        read: list[tuple[int, str]] = []

        async def follow() -> None:
            async with aclosing(reader.records(follow=True)) as records:
                async for entry, record in records:
                    read.append((entry.sequence, "".join(record.facts.get("stream", ""))))

        following = asyncio.create_task(follow())
        await _insert(client, "before")
        made = await _rotate(world)
        await _insert(client, "behind")
        last = (await reader.stream_info()).last
        assert last > made.last + 2
        await until("all of it read", lambda: bool(read) and read[-1][0] >= last)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert [sequence for sequence, _ in read] == list(range(1, len(read) + 1))
    assert dict(read)[made.last + 1] == made.stream


async def test_the_former_stream_takes_nothing_any_more(world: World) -> None:
    """It is sealed, gives its room back, and the new one takes what it took."""
    async with world.connection("administrator") as connection:
        before = (await ask(connection, f"STREAM.INFO.{generation(1)}", {}))["config"]
        made = await _rotate(world)
        sealed = (await ask(connection, f"STREAM.INFO.{made.sealed}", {}))["config"]
        begun = (await ask(connection, f"STREAM.INFO.{made.stream}", {}))["config"]
        states = await generations(connection)
    assert sealed["sealed"] is True
    assert sealed["max_bytes"] < before["max_bytes"] == begun["max_bytes"] == made.size
    for name in ("subjects", "discard", "deny_delete", "deny_purge", "duplicate_window"):
        assert begun[name] == before[name]
    assert [each.name for each in states] == [made.sealed, made.stream]
    assert states[1].first == states[0].last + 1


async def test_a_rotation_that_was_interrupted_is_ended_by_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After sealing, after creating: the trail is closed, nothing is lost, and it is opened."""
    caller, made = world.caller(), list[Rotated]()
    async with world.connection() as connection, world.client() as client:
        for place in ("_create", "_open"):
            with monkeypatch.context() as patch:
                patch.setattr(f"mallku_broker.rotation.{place}", _dies)
                with pytest.raises(Died):
                    await _rotate(world)
            sent = caller.seal("insert", {"document": {"_key": f"closed-{place}"}})
            error = (await exchange(connection, sent)).error
            assert error.code == "audit_unavailable"
            made.append(await _rotate(world))
            await _insert(client, f"open-{place}")
            assert not await client.collection("memory_anchors").has(f"closed-{place}")
    assert [each.stream for each in made] == [generation(2), generation(3)]
    assert (await world.verify()).findings.accusations == []


class Died(Exception):
    """Whoever rotated is gone."""


async def _dies(*_: object) -> None:
    raise Died


async def test_an_order_that_nobody_signed_begins_no_stream(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds an administrator's connection, and not the key, gets no first record."""
    monkeypatch.setattr("mallku_broker.rotation.FIRST_RECORD_S", 3.0)
    stranger = SigningKey(bytes(32))
    honest = load_administrators(world.house.trust)
    async with world.connection("administrator") as connection:
        with pytest.raises(GatewayUnreachable, match="no worker wrote"):
            await rotate(connection, stranger, honest, now_ms)
        assert (await generations(connection))[-1].messages == 0
    made = await _rotate(world)
    assert made.stream == generation(2)
    async with world.client() as client:
        await _insert(client, "open")


async def test_only_an_administrators_key_rotates(world: World, tmp_path: Path) -> None:
    """Another key is refused before anything is sealed."""
    write_private_text(tmp_path / "stranger.pem", SigningKey(bytes(32)).to_pem())
    settings = replace(world.administrator_settings(), key_file=tmp_path / "stranger.pem")
    with pytest.raises(ConfigurationError, match="not the key of an administrator"):
        await rotate_trail(settings)
    async with world.connection("administrator") as connection:
        assert [each.sealed for each in await generations(connection)] == [False]


async def test_receipts_history_and_export_know_nothing_of_streams(
    world: World, tmp_path: Path
) -> None:
    """A trail of two streams is exported as one, verifies as one, and goes on in the next."""
    settings = world.client_settings("auditor")
    order = Order(tmp_path / "export", "jsonl", quiet=True)
    state = tmp_path / "trail.state"
    async with world.client() as client, await AuditReader.connect(settings=settings) as reader:
        await _insert(client, "first")
        await world.trail()
        await export_trail(reader, order)
        assert (await world.verify(state=state)).clean
        made = await _rotate(world)
        await _insert(client, "second")
        await world.trail()
        manifest = await export_trail(reader, order)
        found = await read_history(reader)
    assert manifest.streams["MALLKU_AUDIT"].last > made.last
    trust = load_trust(world.house.trust)
    exported = await verify_trail(ExportedTrail(order.folder), VerifyOrder(trust=trust, quiet=True))
    assert exported.findings.accusations == []
    assert exported.records == manifest.streams["MALLKU_AUDIT"].last
    report = await world.verify(state=state)
    assert report.findings.accusations == []
    assert report.first < made.last < report.last
    assert found == ["first", "second"]


async def read_history(reader: AuditReader) -> list[str]:
    """The keys that were inserted, as an auditor replays them."""
    inserts = Selection(operations=("insert",), outcomes=("done",))
    return [
        str(record.effects[0]["key"])
        async for _, record in reader.records(inserts)
        if record.effects
    ]
