"""The gateways that faults are done to, with everything in reach that the faults need."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from mallku_broker.files import make_private_folder, write_private_text
from mallku_broker.streams import StreamSettings
from mallku_contracts.limits import MIB
from mallku_deploy.furnish import furnish
from mallku_deploy.house import House
from mallku_deploy.options import StoreKind
from tests.chaos import clock
from tests.chaos.schedule import WORKERS, Kind
from tests.integration.world import POLICY, World, running_world
from tests.support.clusters import Cluster, ClusteredGateway
from tests.support.failpoints import Failpoints
from tests.support.simulated_arango import SimulatedArango

COLLECTION: Final = "chaos"

SETTINGS: Final = {
    "CLOCK_SKEW_MS": 1_000,
    "RECONCILE_RUNTIME_MS": 1_000,
    "RECONCILE_EVERY_S": 0.5,
    "RECONCILE_UNTOUCHED_S": 0.2,
    "RECONCILE_SILENT_S": 4,
    "LOG_LEVEL": "error",
}
"""Settings of workers that find out within seconds what became of a command."""

IDLE_S: Final = 0.3
"""After which the simulated ArangoDB undoes what a killed worker had begun, seconds."""

_ENTRY: Final = Path(__file__).parent / "worker.py"
_SPACE: Final = StreamSettings(
    audit_bytes=2_048 * MIB,
    checkpoint_bytes=64 * MIB,
    job_bytes=8 * MIB,
    dead_bytes=8 * MIB,
    result_bytes=8 * MIB,
    bucket_bytes=MIB,
)
_COPIES: Final = StreamSettings(
    audit_bytes=1_024 * MIB,
    checkpoint_bytes=64 * MIB,
    job_bytes=8 * MIB,
    dead_bytes=8 * MIB,
    result_bytes=8 * MIB,
    bucket_bytes=MIB,
    replicas=3,
)


@dataclass
class Arena:
    """A gateway that runs, and the handles of what can go wrong."""

    world: World
    failpoints: Failpoints
    clock: Path
    cluster: Cluster | None = None
    database: SimulatedArango | None = None


@asynccontextmanager
async def arena_in(folder: Path, kind: Kind) -> AsyncGenerator[Arena]:
    """Start one of this kind below `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        arming = Failpoints(folder / "failpoints", patch)
        patch.setattr("mallku_deploy.life._command", _command)
        offset = folder / "clock"
        patch.setenv(clock.VARIABLE, str(offset))
        for name, value in SETTINGS.items():
            patch.setenv(f"MALLKU_WORKER_{name}", str(value))
        with _database(folder, kind, patch) as database:
            async with _gateway(folder / "house", kind) as (world, cluster):
                async with world.client() as db:
                    await db.create_collection(COLLECTION)
                yield Arena(world, arming, offset, cluster, database)


def _command() -> list[str]:
    return [sys.executable, "-P", str(_ENTRY), "worker"]


@contextmanager
def _database(
    folder: Path, kind: Kind, patch: pytest.MonkeyPatch
) -> Generator[SimulatedArango | None]:
    if kind != "arango":
        yield None
        return
    (folder / "database").mkdir()
    server = SimulatedArango(folder / "database")
    for engine in server.databases.values():
        engine.idle_s = IDLE_S
    patch.setenv("MALLKU_WORKER_ARANGO_URL", server.url)
    try:
        yield server
    finally:
        server.close()


@asynccontextmanager
async def _gateway(folder: Path, kind: Kind) -> AsyncGenerator[tuple[World, Cluster | None]]:
    if kind != "cluster":
        store: StoreKind = "arango" if kind == "arango" else "embedded"
        async with running_world(folder, WORKERS, store=store, streams=_SPACE) as world:
            yield world, None
        return
    make_private_folder(folder)
    write_private_text(folder / "policy.yaml", POLICY)
    furnished = furnish(House(folder), WORKERS)
    events: list[object] = []
    gateway = ClusteredGateway(furnished, announce=events.append, streams=_COPIES)
    async with gateway:
        yield World(furnished, gateway, events), gateway.cluster
