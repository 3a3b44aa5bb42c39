"""A pipeline over a real store and a trail in memory, and a rebuild of what that trail tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from mallku_contracts.errors import MallkuError
from mallku_contracts.policy import CompiledPolicy, read_policy
from mallku_contracts.trail.digests import Digests
from mallku_contracts.trail.stored import TrailEntry
from mallku_workers.authorization import Authorizer
from mallku_workers.queries.authorize import QueryAuthorizer
from mallku_workers.rebuilding import Applying, Gathering, Identity, Rebuilt, Wanted, WorkFile
from mallku_workers.stores.base import Store
from mallku_workers.stores.copying import Compared, Side, compare, open_target, read_spec
from mallku_workers.stores.copying.sides import Credentials
from tests.support.simulated_caller import SimulatedCaller
from tests.support.simulated_store import SimulatedStore
from tests.support.simulated_trail import SimulatedTrail, Stored
from tests.workers.copying.copies import Noted
from tests.workers.rebuilding.mix import NAMES, TOUCH, Mix
from tests.workers.world import Cluster, Worker

DATABASE = "mallku"

POLICY = f"""
version: 7
roles:
  service:
    rules: [{{id: all, collections: ["*"], operations: [read, write, admin]}}]
    limits: {{rate_per_s: 1000000, burst: 1000000, in_flight: 64}}
  ruled:
    rules:
      - id: own
        collections: [people, pets]
        operations: [read, write]
        where: {{owner: $principal, any: [{{n: {{"<": 90}}}}, {{tag: {{prefix: q}}}}]}}
        set: {{owner: $principal}}
        hide: [secret]
    limits: {{rate_per_s: 1000000, burst: 1000000, in_flight: 64}}
queries:
  touch: {{text: "{TOUCH}", roles: [service, ruled], parameters: [n], set: {{who: $principal}}}}
principals:
  mallku: {{roles: [service]}}
  other: {{roles: [ruled]}}
collections:
  hidden: {{audit: digest}}
"""
DIGESTS = Digests(b"d" * 32)
COMPILED = CompiledPolicy(read_policy(POLICY, "policy"))


@dataclass
class World:
    """A worker over a store; every command goes through all steps of the pipeline."""

    store: Store
    trail: SimulatedTrail = field(default_factory=SimulatedTrail)
    worker: Worker = field(init=False)

    def __post_init__(self) -> None:
        cluster = Cluster(self.trail, cast("SimulatedStore", self.store))
        self.worker = Worker(cluster, total=256)
        self.worker.pipeline = replace(
            self.worker.pipeline,
            policy=lambda: COMPILED,
            authorizer=Authorizer(QueryAuthorizer(self.store.collections_of), DIGESTS),
        )
        self.callers = {
            "mallku": SimulatedCaller.of("mallku", "service"),
            "other": SimulatedCaller.of("other", "ruled"),
        }

    async def call(
        self, operation: str, collection: str | None = None, by: str = "mallku", **arguments: Any
    ) -> Any:
        """The result of a command."""
        sent = self.callers[by].seal(operation, arguments, collection)
        return (await self.worker.take(sent)).result

    async def tried(self, operation: str, collection: str | None, by: str, arguments: Any) -> None:
        """A command whose refusal is as good as its success."""
        sent = self.callers[by].seal(operation, arguments, collection)
        try:
            _ = (await self.worker.take(sent)).result
        except MallkuError as error:
            assert error.code not in ("internal", "store_failure"), error  # noqa: PT017

    def entries(self) -> list[TrailEntry]:
        """The trail as an auditor reads it."""
        return [_entry(stored) for stored in self.trail.stream]


def _entry(stored: Stored) -> TrailEntry:
    return TrailEntry(stored.sequence, stored.subject, stored.record.time, stored.data)


@dataclass
class Job:
    """One rebuild: from these entries, into this target."""

    folder: Path
    target: str
    wanted: Wanted = field(default_factory=lambda: Wanted(DATABASE))

    def file(self) -> WorkFile:
        """Its work file."""
        names = tuple(sorted(self.wanted.collections))
        return WorkFile(
            self.folder / "rebuild.sqlite",
            Identity("MALLKU_AUDIT", DATABASE, self.target, collections=names),
        )

    async def run(
        self,
        entries: Sequence[TrailEntry],
        *,
        through: Callable[[Side], Side] = lambda side: side,
        save_every: int = 100,
    ) -> Rebuilt:
        """Gather and apply, or go on with it."""
        with self.file() as file:
            gathering = Gathering(file, self.wanted)
            for number, entry in enumerate(entries):
                gathering.take(entry)
                if number % save_every == 0:
                    gathering.save()
            gathering.finish()
            async with open_target(read_spec(self.target), Credentials()) as side:
                applying = Applying(file, through(side), self.wanted, lambda _count: None)
                return await applying.run()

    async def compared(self, store: Store) -> Compared:
        """The target beside a store."""
        async with open_target(read_spec(self.target), Credentials()) as side:
            only = self.wanted.collections
            return await compare(Side(store, DATABASE, "source"), side, Noted(), only=only)


@asynccontextmanager
async def started(store: Store) -> AsyncGenerator[World]:
    """A world over a store, which is stopped at the end."""
    await store.start()
    try:
        yield World(store)
    finally:
        await store.stop()


def described(found: Compared) -> str:
    """What differs, for a test's message."""
    documents = [(one.collection, one.differences) for one in found.collections if not one.same]
    return f"{found.catalog} {documents}"


async def live(world: World, seed: int, commands: int, together: int = 6) -> Mix:
    """Have a world carry out commands at random, several at a time."""
    mix = Mix(seed)
    for name in NAMES:
        await world.call("create-collection", name, edge=name == "knows")
    for _ in range(commands // together):
        some = [world.tried(*mix.command()) for _ in range(together)]
        await asyncio.gather(*some)
    return mix
