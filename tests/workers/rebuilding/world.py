"""A pipeline over a real store and a trail in memory, and a rebuild of what that trail tells."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from mallku_contracts.errors import MallkuError
from mallku_contracts.policy import CompiledPolicy, read_policy
from mallku_contracts.trail.stored import TrailEntry
from mallku_workers.rebuilding import Applying, Gathering, Identity, Rebuilt, Wanted, WorkFile
from mallku_workers.stores.base import Store
from mallku_workers.stores.copying import Compared, Side, compare, open_target, read_spec
from mallku_workers.stores.copying.sides import Credentials
from tests.support.simulated_caller import SimulatedCaller
from tests.support.simulated_store import SimulatedStore
from tests.support.simulated_trail import SimulatedTrail, Stored
from tests.workers.copying.copies import Noted
from tests.workers.world import Cluster, Worker

DATABASE = "mallku"
TOUCH = "FOR p IN people FILTER p.n < @n UPDATE p WITH {by: @who} IN people"

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
        self.worker.pipeline = replace(self.worker.pipeline, policy=lambda: COMPILED)
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


# A random mix of everything that changes something


KEYS = [f"k{number}" for number in range(12)]
NAMES = ("people", "pets", "knows")


class Mix:
    """Commands at random, of every operation that mutates."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a test's dice

    def command(self) -> tuple[str, str | None, str, dict[str, Any]]:
        """Operation, collection, principal and arguments of the next one."""
        r = self.random
        operation = r.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        make: Any = getattr(self, operation.replace("-", "_"))
        by = r.choice(("mallku", "mallku", "other"))
        collection, arguments = make(r.choice(NAMES))
        return operation, collection, by, arguments

    def key(self) -> str:
        """One of few, so that commands meet."""
        return self.random.choice(KEYS)

    def body(self, **more: Any) -> dict[str, Any]:
        """A document's attributes."""
        r = self.random
        return {
            "n": r.choice([r.randrange(100), r.random() * 100, float(r.randrange(100))]),
            "tag": r.choice(["q1", "q2", "x", "ü"]),
            "deep": {r.choice("ab"): [r.randrange(3), None, {"c": r.random()}]},
            "_from": f"people/{self.key()}",
            "_to": f"pets/{self.key()}",
            **({"secret": r.randrange(9)} if r.random() < 0.2 else {}),
            **more,
        }

    def keyed(self) -> dict[str, Any]:
        """A document with one of the keys, or none."""
        return self.body(_key=self.key()) if self.random.random() < 0.7 else self.body()

    def insert(self, name: str) -> Any:
        mode = self.random.choice([None, None, "ignore", "replace", "update"])
        return name, {
            "document": self.keyed(),
            "overwrite_mode": mode,
            "silent": self.random.random() < 0.5,
        }

    def insert_many(self, name: str) -> Any:
        mode = self.random.choice([None, "ignore", "replace", "update"])
        documents = [self.keyed() for _ in range(self.random.randrange(6))]
        return name, {"documents": documents, "overwrite_mode": mode}

    def update(self, name: str) -> Any:
        patch = self.random.choice([{"n": self.random.randrange(100)}, {"deep": {"b": 1}}, {}])
        return name, {
            "document": {"_key": self.key(), **patch},
            "merge": self.random.random() < 0.5,
            "return_new": True,
        }

    def update_many(self, name: str) -> Any:
        documents = [{"_key": self.key(), "tag": self.random.choice("pq")} for _ in range(4)]
        return name, {"documents": documents}

    def update_match(self, name: str) -> Any:
        return name, {
            "filters": {"tag": self.random.choice(["q1", "x"])},
            "body": {"n": None, "deep": {"m": self.random.randrange(9)}},
            "keep_none": self.random.random() < 0.5,
        }

    def replace(self, name: str) -> Any:
        return name, {"document": self.body(_key=self.key())}

    def replace_many(self, name: str) -> Any:
        return name, {"documents": [self.body(_key=self.key()) for _ in range(4)]}

    def replace_match(self, name: str) -> Any:
        return name, {"filters": {"tag": "q2"}, "body": self.body(), "limit": 3}

    def upsert(self, name: str) -> Any:
        change = self.random.choice([{"update": {"n": 5}}, {"replace": self.body()}])
        filters = self.random.choice([{"_key": self.key()}, {"tag": "q1"}])
        return name, {"filters": filters, "insert": self.keyed(), **change}

    def delete(self, name: str) -> Any:
        return name, {"document": self.key(), "ignore_missing": True}

    def delete_many(self, name: str) -> Any:
        return name, {"documents": [self.key(), self.key()]}

    def delete_match(self, name: str) -> Any:
        return name, {"filters": {"tag": "x"}, "limit": 4}

    def transaction(self, _name: str) -> Any:
        steps = []
        kinds = ["insert", "update", "replace", "delete", "upsert", "insert-many", "update-match"]
        for kind in self.random.choices(kinds, k=self.random.randrange(1, 4)):
            make: Any = getattr(self, kind.replace("-", "_"))
            collection, arguments = make(self.random.choice(NAMES))
            steps.append({"operation": kind, "collection": collection, "arguments": arguments})
        return None, {"steps": steps}

    def aql(self, name: str) -> Any:
        if self.random.random() < 0.2:
            return None, {"query": TOUCH, "bind_vars": {"n": self.random.randrange(60)}}
        query, binds = self.random.choice(
            [
                (f"FOR d IN {name} FILTER d.tag == @t UPDATE d WITH {{n: 7}} IN {name}", {"t": "x"}),
                (f"FOR d IN {name} SORT d._key LIMIT 2 REMOVE d IN {name}", {}),
                (f"INSERT {{_from: 'people/k1', _to: 'pets/k2', a: @a}} INTO {name}", {"a": [1]}),
                (f"FOR i IN 1..3 INSERT {{_key: CONCAT('k', i), i}} INTO {name}"
                 " OPTIONS {overwriteMode: 'update'}", {}),
                (f"UPSERT {{_key: @k}} INSERT {{_key: @k, u: 1, _from: 'people/k1', _to: 'a/b'}}"
                 f" UPDATE {{u: 2}} IN {name}", {"k": self.key()}),
                (f"FOR d IN {name} FILTER d.n > 50 REPLACE d WITH {{r: d.n, _from: 'a/b',"
                 f" _to: 'c/d'}} IN {name}", {}),
            ]
        )
        return None, {"query": query, "bind_vars": binds}

    def create_collection(self, name: str) -> Any:
        return name, {"edge": name == "knows"}

    def drop_collection(self, name: str) -> Any:
        return name, {"ignore_missing": self.random.random() < 0.5}

    def truncate(self, name: str) -> Any:
        return name, {}

    def create_index(self, name: str) -> Any:
        fields = self.random.choice([["n"], ["tag", "n"], ["deep.a"], ["owner"]])
        return name, {
            "fields": fields,
            "name": self.random.choice([None, None, "by_it"]),
            "sparse": self.random.random() < 0.5,
            "unique": fields == ["deep.a"],
        }

    def drop_index(self, name: str) -> Any:
        return name, {"index": "by_it", "ignore_missing": True}

    def create_graph(self, _name: str) -> Any:
        ends = {"from_vertex_collections": ["people"], "to_vertex_collections": ["pets"]}
        return None, {
            "name": self.random.choice(["one", "two"]),
            "edge_definitions": [{"edge_collection": "knows", **ends}],
        }

    def drop_graph(self, _name: str) -> Any:
        return None, {"name": self.random.choice(["one", "two"]), "ignore_missing": True}


_WEIGHTS = {
    "insert": 14,
    "insert-many": 6,
    "update": 8,
    "update-many": 4,
    "update-match": 3,
    "replace": 5,
    "replace-many": 3,
    "replace-match": 2,
    "upsert": 6,
    "delete": 6,
    "delete-many": 3,
    "delete-match": 2,
    "transaction": 8,
    "aql": 10,
    "create-collection": 8,
    "drop-collection": 1,
    "truncate": 1,
    "create-index": 3,
    "drop-index": 2,
    "create-graph": 1,
    "drop-graph": 1,
}


async def live(world: World, seed: int, commands: int, together: int = 6) -> Mix:
    """Have a world carry out commands at random, several at a time."""
    mix = Mix(seed)
    for name in NAMES:
        await world.call("create-collection", name, edge=name == "knows")
    for _ in range(commands // together):
        some = [world.tried(*mix.command()) for _ in range(together)]
        await asyncio.gather(*some)
    return mix
