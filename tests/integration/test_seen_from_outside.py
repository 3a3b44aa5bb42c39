"""Discovery, metrics and health of real workers, asked as an operator would ask."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mallku_client import SecuredDatabaseInterface
from mallku_contracts.errors import ConfigurationError, MallkuError
from mallku_contracts.keys import SigningKey
from mallku_contracts.operations import OPERATIONS
from mallku_deploy.watching.finding import Finder, open_finder
from tests.integration.seeing import POLICY, get, metric, ready, ready_when, scraping
from tests.integration.world import World, exchange, running_world, until
from tests.support.natscli import find_nats

pytestmark = pytest.mark.asyncio(loop_scope="session")

INSERTS = 20
NATS_S = 20.0
STARVED_S, FED_S = 1.4, 0.06


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def seen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A gateway with two workers and an inspector, and some commands that it carried out."""
    folder = tmp_path_factory.mktemp("seen")
    async with running_world(folder / "house", policy=POLICY) as world:
        async with world.client() as client:
            anchors = await client.create_collection("memory_anchors")
            for _ in range(INSERTS):
                await anchors.insert({"kind": "khipu"})
            await _refused(client)
        yield world


async def _refused(client: SecuredDatabaseInterface) -> None:
    with pytest.raises(MallkuError):
        await client.collection("nowhere").insert({"kind": "khipu"})


@pytest_asyncio.fixture(loop_scope="session")
async def own(tmp_path: Path) -> AsyncIterator[World]:
    """A gateway with two workers, to be broken."""
    async with running_world(tmp_path / "house", policy=POLICY) as world:
        yield world


async def nats(world: World, *arguments: str) -> str:
    """What the real `nats` command line says to an inspector."""
    files = world.house.principal("inspector")
    process = await asyncio.create_subprocess_exec(
        find_nats(),
        *("--server", world.gateway.url, "--nkey", files.credentials),
        *("--inbox-prefix", "_INBOX_mallku.inspector", "--timeout", "1s", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(NATS_S):
        said, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    return said.decode()


async def instances(world: World) -> set[str]:
    """The ids of the workers that answer."""
    async with open_finder(world.client_settings("inspector", token_file=None)) as finder:
        return {one.instance for one in await finder.look(expected=2)}


async def test_nats_micro_finds_every_worker(seen: World) -> None:
    """`ls` and `ping` name both workers; the tool's own schemas accept what they say."""
    listed, pinged = await nats(seen, "micro", "ls"), await nats(seen, "micro", "ping")
    for instance in await instances(seen):
        assert instance in listed
        assert f"mallku-gateway {instance}" in pinged


async def test_nats_micro_shows_what_a_worker_is(seen: World) -> None:
    """`info` has each operation with its subject and group, and who the worker is."""
    said = json.loads(await nats(seen, "micro", "info", "mallku-gateway", "--json"))
    endpoints = {each["name"]: each for each in said["info"]["endpoints"]}
    assert set(endpoints) == set(OPERATIONS)
    assert endpoints["insert"]["subject"] == "mallku.v1.cmd.*.*.*.insert"
    assert endpoints["insert"]["queue_group"] == "mallku.write"
    metadata = said["info"]["metadata"]
    assert (metadata["store"], metadata["durability"]) == ("embedded", "flush")
    assert metadata["policy_version"] == "1"
    assert metadata["http"] in scraping(seen)


async def test_nats_micro_stats_are_the_real_counts(seen: World) -> None:
    """Over all workers there are as many requests, and errors, as commands were sent."""
    workers = json.loads(await nats(seen, "micro", "stats", "mallku-gateway", "--json"))
    inserts = [
        each for worker in workers for each in worker["endpoints"] if each["name"] == "insert"
    ]
    assert sum(each["num_requests"] for each in inserts) >= INSERTS + 1
    assert sum(each["num_errors"] for each in inserts) >= 1
    assert all(
        each["average_processing_time"] == each["processing_time"] // each["num_requests"]
        for each in inserts
        if each["num_requests"]
    )


async def test_workers_prove_who_they_are(seen: World) -> None:
    """Each answer is signed for the question by a key that the issuer vouches for."""
    async with open_finder(seen.client_settings("inspector", token_file=None)) as finder:
        found = await finder.look(expected=2)
    assert [one.principal for one in found] == ["worker-1", "worker-2"]
    assert all(one.is_ready and not one.doubt for one in found)
    assert {one.state["pid"] for one in found} == set(seen.workers.values())
    assert all(one.state["audit"]["answers"] for one in found)
    assert {"read", "write"} <= set(found[0].state["breakers"])


async def test_who_is_no_inspector_is_told_nothing(seen: World) -> None:
    """A caller may not ask; the error says who may."""
    async with open_finder(seen.client_settings("mallku")) as finder:
        with pytest.raises(ConfigurationError, match="inspector"):
            await finder.look(wait_s=5)


async def test_answers_that_nobody_vouches_for_are_doubted(seen: World, tmp_path: Path) -> None:
    """Under another trust file the same workers are shown, and not believed."""
    other = tmp_path / "trust.json"
    text = json.loads(seen.house.trust.read_text())
    name = next(iter(text["issuers"]))
    text["issuers"] = {name: {"keys": [SigningKey(b"o" * 32).public.jwk()]}}
    other.write_text(json.dumps(text))
    other.chmod(0o600)
    settings = seen.client_settings("inspector", token_file=None, trust_file=other)
    async with open_finder(settings) as finder:
        found = await finder.look(expected=2)
    assert len(found) == 2
    assert all(one.doubt and not one.principal and not one.is_ready for one in found)


async def test_each_worker_has_metrics_of_its_own(seen: World) -> None:
    """Two addresses, told to Prometheus in a file; over both there is every command."""
    places = scraping(seen)
    assert len(set(places)) == 2
    targets = json.loads(seen.house.targets.read_text())
    assert [group["labels"]["worker"] for group in targets] == ["worker-1", "worker-2"]
    pages = [(await get(place, "/metrics"))[1] for place in places]
    done = {"operation": "insert", "outcome": "done", "code": "ok"}
    assert sum(metric(page, "mallku_commands_total", **done) for page in pages) >= INSERTS
    named = {"collection": "memory_anchors", "access": "write"}
    assert (
        sum(metric(page, "mallku_collection_commands_total", **named) for page in pages) >= INSERTS
    )
    for page in pages:
        assert metric(page, "mallku_ready") == 1
        assert metric(page, "mallku_broker_up") == 2
        assert metric(page, "mallku_policy_version") == 1
        assert metric(page, "mallku_audit_records_total") > 0
        assert metric(page, "process_resident_memory_bytes") > 0


async def test_a_worker_that_is_well_says_so(seen: World) -> None:
    """Alive, started, ready; each part is fine."""
    for place in scraping(seen):
        assert (await get(place, "/livez"))[0] == 200
        assert (await get(place, "/startupz"))[0] == 200
        said = await ready(place)
        assert (said["status"], said["ready"], said["reasons"]) == (200, True, [])
        assert set(said["parts"].values()) == {"ok"}


async def test_without_a_broker_a_worker_lives_and_is_not_ready(own: World) -> None:
    """It says which connections are down, stays alive, and is ready again when the broker is."""
    place = scraping(own)[0]
    pid = own.gateway.pids["nats-server"]
    os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    said = await ready_when(place, lambda said: not said["ready"])
    assert said["status"] == 503
    assert any(reason.startswith("broker: ") for reason in said["reasons"])
    assert (await get(place, "/livez"))[0] == 200
    await ready_when(place, lambda said: bool(said["ready"]))


async def test_without_a_store_workers_stay_and_answer(own: World) -> None:
    """A store that is no database opens the breaker: not ready, and typed refusals at once."""
    async with own.client() as client:
        anchors = await client.create_collection("memory_anchors")
        await anchors.insert({"_key": "k1"})
        for file in own.house.store.rglob("*"):
            if file.is_file():
                file.write_bytes(b"this is no database" * 1_000)
        codes = [await _code(own, number) for number in range(60)]
        place = scraping(own)[0]
        said = await ready(place)
    assert set(codes) <= {"unavailable", "store_failure", "outcome_unknown"}
    assert "unavailable" in codes
    assert not said["ready"]
    assert "store: the breaker of" in said["reasons"][0]


async def _code(world: World, number: int) -> str:
    """What one try of an insert is answered with."""
    async with world.connection() as raw:
        sent = world.caller().seal("insert", {"document": {"_key": f"n{number}"}})
        return (await exchange(raw, sent)).error.code


async def test_a_draining_worker_says_so(own: World) -> None:
    """What is told to end is replaced; the file for Prometheus has the new worker's address."""
    before = json.loads(own.house.targets.read_text())
    pid = await own.kill("worker-1", signal.SIGTERM)
    await own.replaced(pid)
    after = json.loads(own.house.targets.read_text())
    assert before[0]["targets"] != after[0]["targets"]
    assert before[1] == after[1]
    assert (await ready(after[0]["targets"][0]))["ready"]


async def test_a_hung_worker_does_not_answer_and_others_do(own: World) -> None:
    """Who looks for workers waits for nobody that hangs: the others are shown."""
    pid = own.workers["worker-1"]
    os.kill(pid, signal.SIGSTOP)
    try:
        async with open_finder(own.client_settings("inspector", token_file=None)) as finder:
            found = await finder.look(wait_s=1.0)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert [one.principal for one in found] == ["worker-2"]


@asynccontextmanager
async def _starved(pid: int) -> AsyncGenerator[None]:
    """A worker that gets a moment now and then, and is late for everything."""

    async def starve() -> None:
        try:
            while True:
                os.kill(pid, signal.SIGSTOP)
                await asyncio.sleep(STARVED_S)
                os.kill(pid, signal.SIGCONT)
                await asyncio.sleep(FED_S)
        finally:
            os.kill(pid, signal.SIGCONT)

    starving = asyncio.create_task(starve())
    try:
        yield
    finally:
        starving.cancel()
        await asyncio.gather(starving, return_exceptions=True)


async def test_a_worker_that_is_late_leaves_the_work_to_others(own: World) -> None:
    """Starved of its machine it leaves its groups, so that nobody waits for it; fed it is back."""
    place, pid = scraping(own)[0], own.workers["worker-1"]
    async with own.client(max_attempts=1, timeout_s=STARVED_S * 0.8) as client:
        anchors = await client.create_collection("memory_anchors")
        async with _starved(pid):
            said = await ready_when(place, _is_away)
            assert any("usually" in reason for reason in said["reasons"])
            for _ in range(30):
                await anchors.insert({})
        await ready_when(place, lambda said: bool(said["ready"]))
        before = metric((await get(place, "/metrics"))[1], "mallku_commands_total")
        for _ in range(30):
            await anchors.insert({})
        after = metric((await get(place, "/metrics"))[1], "mallku_commands_total")
    assert after > before
    assert own.losses == []


def _is_away(said: dict[str, Any]) -> bool:
    return any(reason.startswith("away: ") for reason in said["reasons"])


async def _ids(finder: Finder) -> list[str]:
    return [one.instance for one in await finder.look()]


async def test_looking_again_is_looking_anew(own: World) -> None:
    """Each look has a question of its own; a worker that was replaced is another one."""
    async with open_finder(own.client_settings("inspector", token_file=None)) as finder:
        first = await _ids(finder)
        pid = await own.kill("worker-2", signal.SIGKILL)
        await own.replaced(pid)
        second = await _ids(finder)
    assert len(first) == len(second) == 2
    assert len(set(first) & set(second)) == 1
    await until("no loss more", lambda: len(own.losses) == 1)
