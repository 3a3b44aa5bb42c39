"""A witness outside: it has every checkpoint in the end, and never stands in the way."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mallku_broker.ranges import Range
from mallku_broker.stream_reader import read_stream
from mallku_broker.streams import CHECKPOINTS
from mallku_contracts.envelope import token_hash
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.trail.checkpoint import (
    NO_CHECKPOINT,
    Checkpoint,
    CheckpointHeader,
    Statement,
    open_checkpoint,
    seal_checkpoint,
)
from mallku_contracts.trail.merkle import EMPTY_ROOT
from mallku_workers.audit import witness as witness_module
from mallku_workers.audit.witness import (
    BrokerWitness,
    FileWitness,
    Witnessing,
    WitnessSilent,
    witness_at,
)
from mallku_workers.message import unix_ms
from tests.support.nats import NatsHouse, nats_house
from tests.workers.world import REPLY_TOKEN, TRUST, WORKER_KEY, until

PLACE = "mallku.v1.checkpoint.w1"


def checkpoints(count: int) -> list[Checkpoint]:
    """A chain of so many, with nothing to say."""
    made: list[Checkpoint] = []
    for number in range(1, count + 1):
        previous = made[-1].hash if made else NO_CHECKPOINT
        ath = token_hash(REPLY_TOKEN)
        header = CheckpointHeader(1, WORKER_KEY.kid, "w1", number, unix_ms(), previous, ath)
        statement = Statement("MALLKU_AUDIT", 1, 0, 0, EMPTY_ROOT)
        made.append(seal_checkpoint(header, statement, WORKER_KEY, REPLY_TOKEN))
    return made


def lines(path: Path) -> list[bytes]:
    """The checkpoints in a witness's file that are whole."""
    found = []
    for line in path.read_bytes().splitlines():
        try:
            found.append(base64.b64decode(json.loads(line)["checkpoint"]))
        except ValueError:
            continue
    return found


class SimulatedWitness:
    """Takes what it is given once `silent` is over."""

    def __init__(self) -> None:
        self.kept: list[Checkpoint] = []
        self.silent = False
        self.closed = False
        self.tries = 0

    async def keep(self, checkpoint: Checkpoint) -> None:
        """Take one, or say why not."""
        self.tries += 1
        if self.silent:
            raise WitnessSilent("not now")
        self.kept.append(checkpoint)

    async def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


async def test_the_file_has_every_checkpoint(tmp_path: Path) -> None:
    """One line each, to the byte what was signed, in a file that nobody else may read."""
    path = tmp_path / "witness.jsonl"
    witness, made = FileWitness(path), checkpoints(3)
    for checkpoint in made:
        await witness.keep(checkpoint)
    assert lines(path) == [checkpoint.data for checkpoint in made]
    first = json.loads(path.read_bytes().splitlines()[0])
    assert first.keys() == {"v", "worker", "number", "time", "hash", "checkpoint"}
    assert (first["worker"], first["number"], first["hash"]) == ("w1", 1, made[0].hash.hex())
    assert open_checkpoint(lines(path)[2], TRUST) == made[2]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    """After a crash in the middle of a line the next one begins on a line of its own."""
    path = tmp_path / "witness.jsonl"
    path.write_bytes(b'{"v":1,"checkpo')
    (made,) = checkpoints(1)
    await FileWitness(path).keep(made)
    assert lines(path) == [made.data]


async def test_several_workers_share_a_file(tmp_path: Path) -> None:
    """Lines of workers that write at the same moment do not mix."""
    path, made = tmp_path / "witness.jsonl", checkpoints(40)
    witnesses = [FileWitness(path) for _ in range(4)]
    await asyncio.gather(*(witnesses[n % 4].keep(made[n]) for n in range(40)))
    assert sorted(lines(path)) == sorted(checkpoint.data for checkpoint in made)


async def test_every_line_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No checkpoint counts as kept before `fsync`; of a new file the folder is synced too."""
    synced: list[str] = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    for checkpoint in checkpoints(2):
        await FileWitness(tmp_path / "witness.jsonl").keep(checkpoint)
    assert synced == ["witness.jsonl", tmp_path.name, "witness.jsonl"]


async def test_what_is_no_plain_file_is_no_witness(tmp_path: Path) -> None:
    """A pipe, a folder, or a folder that is not there: the witness says so and hangs nowhere."""
    (made,) = checkpoints(1)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "none" / "file"):
        with pytest.raises(WitnessSilent, match=str(path)):
            await FileWitness(path).keep(made)


async def test_a_silent_witness_gets_everything_later() -> None:
    """In order, without one missing; the silence is logged once."""
    witness, made = SimulatedWitness(), checkpoints(3)
    witness.silent = True
    witnessing = Witnessing(witness, retry_s=0.001)
    task = asyncio.create_task(witnessing.keep())
    with capture_logs() as logs:
        for checkpoint in made:
            witnessing.offer(checkpoint)
        await until(lambda: witness.tries >= 5)
        assert witnessing.waiting == 3
        witness.silent = False
        assert await witnessing.finish(1.0) == 0
    task.cancel()
    assert witness.kept == made
    assert witness.closed
    assert [entry["event"] for entry in logs] == ["witness_silent", "witness_answers"]


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first: each that follows holds the hash of those before."""
    monkeypatch.setattr(witness_module, "MAX_WAITING", 2)
    witness, made = SimulatedWitness(), checkpoints(5)
    witnessing = Witnessing(witness, retry_s=0.001)
    for checkpoint in made:
        witnessing.offer(checkpoint)
    assert witnessing.waiting == 2
    task = asyncio.create_task(witnessing.keep())
    assert await witnessing.finish(1.0) == 0
    task.cancel()
    assert witness.kept == made[3:]


async def test_the_end_is_bounded() -> None:
    """A witness that stays silent keeps no worker from ending; what it lacks is said."""
    witness = SimulatedWitness()
    witness.silent = True
    witnessing = Witnessing(witness, retry_s=0.001)
    witnessing.offer(checkpoints(1)[0])
    task = asyncio.create_task(witnessing.keep())
    assert await witnessing.finish(0.02) == 1
    task.cancel()
    assert witness.closed


async def _kept_outside(house: NatsHouse) -> list[bytes]:
    connection = await house.connect("worker-records")
    try:
        wanted = Range(CHECKPOINTS)
        batches = [batch async for batch in read_stream(connection, wanted, name="worker-test")]
    finally:
        await connection.close()
    return [entry.data for batch in batches for entry in batch]


async def test_a_broker_outside_has_every_checkpoint(tmp_path: Path) -> None:
    """A stream there stores the bytes as they are, once, also where an answer was lost.

    A subject that nobody keeps is no witness, nor is a broker that is gone.
    """
    made = checkpoints(2)
    async with nats_house(tmp_path / "outside") as house:
        credentials = house.credentials["worker-records"]
        witness = witness_at(f"{house.url}/{PLACE}", credentials, "w1")
        for checkpoint in (*made, made[1]):
            await witness.keep(checkpoint)
        await witness.close()
        assert await _kept_outside(house) == [checkpoint.data for checkpoint in made]
        nobody = witness_at(f"{house.url}/mallku.v1.rate.p.q", credentials, "w1")
        with pytest.raises(WitnessSilent):
            await nobody.keep(made[0])
        await nobody.close()
    with pytest.raises(WitnessSilent):
        await witness.keep(made[0])
    await witness.close()


@pytest.mark.parametrize(
    "place",
    [
        "",
        "witness.jsonl",
        "file:witness.jsonl",
        "http://host/subject",
        "nats://host:4222",
        "nats://host:4222/",
        "nats://host:4222/a.*.b",
        "nats://host:4222/a..b",
        "nats://host:4222/a b",
        f"nats://host:4222/{'a' * 300}",
        "nats://user:secret@host:4222/a",
        "nats:///a",
    ],
)
def test_places_that_are_refused(place: str) -> None:
    """A setting that names no witness says so when the worker starts; no secret is repeated."""
    with pytest.raises(ConfigurationError) as refused:
        witness_at(place, None, "w1")
    assert "secret" not in str(refused.value)


def test_places(tmp_path: Path) -> None:
    """A file by its path or as a URL; a broker in the clear or with TLS."""
    for place in (f"file:{tmp_path}/w%20x", f"file://{tmp_path}/w x"):
        witness = witness_at(place, None, "w1")
        assert isinstance(witness, FileWitness)
        assert witness._path == tmp_path / "w x"
    for scheme in ("nats", "tls"):
        witness = witness_at(f"{scheme}://host:4222/a.b-c", None, "w1")
        assert isinstance(witness, BrokerWitness)
        assert (witness._settings.url, witness._subject) == (f"{scheme}://host:4222", "a.b-c")
