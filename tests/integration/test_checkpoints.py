"""The checkpoints of real workers: every record they wrote is under a root, whatever happens."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from mallku_broker.ranges import Range
from mallku_broker.stream_reader import read_stream
from mallku_broker.streams import AUDIT, CHECKPOINTS
from mallku_broker.trust import load_trust
from mallku_client import SecuredDatabaseInterface
from mallku_contracts.audit import Record, record_hash
from mallku_contracts.errors import GatewayUnreachable, MallkuError
from mallku_contracts.trail.checkpoint import (
    NO_CHECKPOINT,
    Checkpoint,
    CheckpointOpener,
    checkpoint_subject,
    record_leaf,
)
from mallku_contracts.trail.merkle import inclusion_path, proves, root_of
from mallku_deploy.events import WorkerReady
from tests.integration.load import Load
from tests.integration.world import EVENT_S, LOOK_S, World, running_world, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@dataclass(frozen=True)
class Stands:
    """A record where it stands."""

    sequence: int
    hash: bytes
    record: Record

    @property
    def leaf(self) -> bytes:
        """Its leaf."""
        return record_leaf(self.record.number, self.sequence, self.hash)


@dataclass(frozen=True)
class Proven:
    """Both streams as they are now.

    Attributes:
        records: By worker and number.
        chains: The checkpoints of each worker, in order.
    """

    records: dict[str, dict[int, Stands]]
    chains: dict[str, list[Checkpoint]]

    def uncovered(self, worker: str) -> set[int]:
        """The numbers of the worker that stand in the stream and under no checkpoint."""
        chain = self.chains.get(worker, [])
        last = chain[-1].statement.last if chain else 0
        return {number for number in self.records.get(worker, {}) if number > last}

    def check(self) -> None:
        """Hold every checkpoint against its former one and against the records."""
        for worker, chain in self.chains.items():
            former, next_number = NO_CHECKPOINT, 1
            for number, checkpoint in enumerate(chain, 1):
                assert (checkpoint.header.worker, checkpoint.header.number) == (worker, number)
                assert checkpoint.header.previous == former
                assert checkpoint.statement.first == next_number
                self._check_root(checkpoint)
                former, next_number = checkpoint.hash, checkpoint.statement.last + 1

    def _check_root(self, checkpoint: Checkpoint) -> None:
        said, own = checkpoint.statement, self.records.get(checkpoint.header.worker, {})
        good = [n for n in range(said.first, said.last + 1) if n not in said.void]
        leaves = [own[number].leaf for number in good]
        assert (said.stream, said.size, said.root) == (AUDIT, len(good), root_of(leaves))
        assert said.sequence == max((own[number].sequence for number in good), default=0)
        for index, leaf in enumerate(leaves[:3]):
            path = inclusion_path(leaves, index)
            assert proves(leaf, index, said.size, path, said.root)


async def proven(world: World) -> Proven:
    """Read both streams, the checkpoints first: what they cover stands by then."""
    opener = CheckpointOpener(load_trust(world.house.trust))
    chains: dict[str, list[Checkpoint]] = {}
    records: dict[str, dict[int, Stands]] = {}
    async with world.connection("administrator") as connection:
        async for batch in read_stream(connection, Range(CHECKPOINTS), name="test"):
            for entry in batch:
                checkpoint = opener.believe(entry.data)
                assert entry.subject == checkpoint_subject(checkpoint.header.worker)
                chains.setdefault(checkpoint.header.worker, []).append(checkpoint)
        async for batch in read_stream(connection, Range(AUDIT), name="test"):
            for entry in batch:
                record = Record.read(entry.data)
                stands = Stands(entry.sequence, record_hash(entry.data), record)
                assert record.number not in records.setdefault(record.worker, {})
                records[record.worker][record.number] = stands
    return Proven(records, chains)


async def covered(world: World, *workers: str) -> Proven:
    """Both streams, once nothing of these workers is without a checkpoint."""
    async with asyncio.timeout(EVENT_S):
        while True:
            found = await proven(world)
            if not any(found.uncovered(worker) for worker in workers):
                return found
            await asyncio.sleep(0.1)


def instance_of(world: World, place: str) -> str:
    """The instance that works in this place now."""
    ready = [event for event in world.events if isinstance(event, WorkerReady)]
    return next(event.instance for event in reversed(ready) if event.slot == place)


async def test_every_record_is_under_a_checkpoint(own_world: World) -> None:
    """Under load and after it: chains without gaps, roots as of the stream, each for two workers.

    One that is told to stop ends with a final checkpoint over all that it wrote.
    """
    stopped, stays = (instance_of(own_world, place) for place in ("worker-1", "worker-2"))
    async with own_world.client() as client, Load(client) as load:
        await load.grown(400)
        pid = await own_world.kill("worker-1", signal.SIGTERM)
        assert (await own_world.replaced(pid)).reason == "ended with 0"
        await load.grown()
    follows = instance_of(own_world, "worker-1")
    found = await covered(own_world, stopped, stays, follows)
    found.check()
    assert found.chains.keys() == found.records.keys() == {stopped, stays, follows}
    last = found.chains[stopped][-1].statement
    assert (last.final, last.last) == (True, max(found.records[stopped]))
    assert sum(checkpoint.statement.final for checkpoint in found.chains[stopped]) == 1
    assert not any(checkpoint.statement.final for checkpoint in found.chains[stays])
    _check_first_and_last(found.records[stopped])
    heads = found.chains[stays][-1].statement.heads
    assert heads[stopped] == found.chains[stopped][-1].head
    assert heads[follows].number <= len(found.chains[follows])


def _check_first_and_last(records: dict[int, Stands]) -> None:
    about = [s.record for s in records.values() if s.record.principal == "_gateway"]
    (start,) = (record for record in about if record.facts.get("store"))
    assert start.facts.keys() == {"store", "durability", "version", "policy", "kid"}
    assert (start.facts["store"], start.facts["policy"]) == ("embedded", 1)
    stop = records[max(records)].record
    assert stop.facts == {"records": max(records) - 1, "cut_off": 0}


async def test_a_killed_worker_leaves_a_chain_that_holds(own_world: World) -> None:
    """Kill -9 under load: what it had covered holds, the rest is a tail; nobody says it ended."""
    killed = instance_of(own_world, "worker-1")
    async with own_world.client() as client, Load(client) as load:
        await until_covered(own_world, killed)
        await load.grown()
        pid = await own_world.kill("worker-1", signal.SIGKILL)
        await own_world.replaced(pid)
        await load.grown()
    others = {instance_of(own_world, place) for place in ("worker-1", "worker-2")}
    found = await covered(own_world, *others)
    found.check()
    assert not any(checkpoint.statement.final for checkpoint in found.chains[killed])
    heads = [found.chains[other][-1].statement.heads for other in others]
    assert any(killed in each for each in heads)


async def until_covered(world: World, worker: str) -> None:
    """Wait until the worker has made two checkpoints."""
    async with asyncio.timeout(EVENT_S):
        while len((await proven(world)).chains.get(worker, [])) < 2:  # noqa: ASYNC110 - others make them
            await asyncio.sleep(0.1)


async def test_a_broker_that_hangs_breaks_no_chain(own_world: World) -> None:
    """SIGSTOP of the NATS server under load: what got lost is void, and checkpoints go on."""
    server = own_world.gateway.pids["nats-server"]
    async with own_world.client() as client, Load(client):
        os.kill(server, signal.SIGSTOP)
        try:
            with pytest.raises(MallkuError):
                await client.collection("memory_anchors").insert({}, timeout=4)
        finally:
            os.kill(server, signal.SIGCONT)
        await _insert_once_there(client)
    workers = {instance_of(own_world, place) for place in ("worker-1", "worker-2")}
    found = await covered(own_world, *workers)
    found.check()


async def _insert_once_there(client: SecuredDatabaseInterface) -> None:
    """Ask again as often as the client's breaker says when."""
    async with asyncio.timeout(EVENT_S):
        while True:
            try:
                await client.collection("memory_anchors").insert({})
            except GatewayUnreachable as away:
                await asyncio.sleep(away.retry_after or LOOK_S)
            else:
                return


async def test_the_witness_has_every_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All workers write into one file, the last words of each as well."""
    path = tmp_path / "witness.jsonl"
    monkeypatch.setenv("MALLKU_WORKER_CHECKPOINT_WITNESS", f"file:{path}")
    async with running_world(tmp_path / "house") as world:
        async with world.client() as client:
            await client.create_collection("memory_anchors")
            await client.collection("memory_anchors").insert({"kind": "khipu"})
        pid = await world.kill("worker-1", signal.SIGTERM)
        await world.replaced(pid)
        found = await covered(world, *(instance_of(world, each) for each in world.workers))
        wanted = {checkpoint.data for chain in found.chains.values() for checkpoint in chain}
        await until("the witness to have all", lambda: wanted <= _witnessed(path))
    opener = CheckpointOpener(load_trust(world.house.trust))
    ended = [opener.believe(data) for data in _witnessed(path)]
    assert sum(checkpoint.statement.final for checkpoint in ended) == 3


def _witnessed(path: Path) -> set[bytes]:
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return {base64.b64decode(json.loads(line)["checkpoint"]) for line in lines}


async def test_the_callers_trace_is_on_the_trail(world: World) -> None:
    """`traceparent` is kept where it is well-formed; a broken one is no reason to refuse."""
    caller = world.caller()
    traced, broken = (caller.seal("count", {}) for _ in range(2))
    good = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    async with world.connection() as raw:
        for sent, headers in ((traced, good), (broken, {"traceparent": f"00-{TRACE}"})):
            await raw.request(str(sent.subject), sent.data, timeout=EVENT_S, headers=headers)
    trail = await world.trail()
    traces = {record.id: record.trace for record in trail.records}
    assert (traces[traced.header.id], traces[broken.header.id]) == (TRACE, "")
