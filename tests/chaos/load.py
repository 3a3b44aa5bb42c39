"""Clients that do everything to a few documents at once, and keep histories of it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mallku_client import SecuredDatabaseInterface
from mallku_client.composition import broker_settings
from mallku_client.nats_transport import NatsTransport
from mallku_contracts.errors import MallkuError
from tests.chaos.arenas import COLLECTION, Arena
from tests.chaos.wire import UnreliableTransport

CLIENTS: Final = 4
"""Clients, each with a connection of its own."""

LANES: Final = 5
"""Callers at once in each of them."""

DOCUMENTS: Final = 30
"""Documents that they all fight for."""

TIMEOUT_S: Final = 5.0
"""One call with all its attempts, seconds."""

PAUSE_S: Final = 0.01
"""Between two calls of one caller, seconds at most: the machine has others on it."""

REFUSED_PAUSE_S: Final = 0.4
"""After a refusal that says that trying again makes sense, seconds at most."""

_WEIGHTS: Final[dict[str, int]] = {
    "get": 24,
    "exists": 4,
    "get_many": 4,
    "find": 2,
    "insert": 12,
    "insert_fresh": 8,
    "update": 14,
    "update_revision": 6,
    "replace": 10,
    "delete": 8,
    "upsert": 3,
    "update_match": 2,
    "transaction": 5,
    "insert_many": 3,
    "query": 2,
    "same_key_twice": 3,
}


@dataclass
class Load:
    """What the clients do; counts what they were told.

    Attributes:
        told: Calls by how they ended: `done`, or the code of the error.
        wire: What the wires did.
    """

    seed: int
    told: Counter[str] = field(default_factory=Counter[str])
    operations: Counter[str] = field(default_factory=Counter[str])
    wire: Counter[str] = field(default_factory=Counter[str])
    surprises: list[str] = field(default_factory=list[str])
    wires: list[UnreliableTransport] = field(default_factory=list[UnreliableTransport])
    stopping: bool = False

    @property
    def copied(self) -> set[str]:
        """Idempotency keys of commands of which a wire sent a copy."""
        return {key for wire in self.wires for key in wire.copied}

    @asynccontextmanager
    async def running(self, arena: Arena, histories: Path) -> AsyncGenerator[None]:
        """Keep the clients busy while the block runs."""
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(self._client(arena, histories, number))
                for number in range(CLIENTS)
            ]
            lanes = [
                asyncio.create_task(self._lane(client, f"{number}.{lane}"))
                for number, client in enumerate(clients)
                for lane in range(LANES)
            ]
            try:
                yield
            finally:
                self.stopping = True
                await asyncio.gather(*lanes)

    @asynccontextmanager
    async def _client(
        self, arena: Arena, histories: Path, number: int
    ) -> AsyncGenerator[SecuredDatabaseInterface]:
        settings = arena.world.client_settings(
            "mallku",
            timeout_s=TIMEOUT_S,
            history_file=histories / f"client-{number}.jsonl",
        )
        wire = UnreliableTransport(
            await NatsTransport.open(broker_settings(settings), "mallku"),
            random.Random(f"wire {self.seed} {number}"),
            self.wire,
        )
        self.wires.append(wire)
        connecting = SecuredDatabaseInterface.connect(settings=settings, transport=wire)
        async with await connecting as client:
            yield client

    async def _lane(self, client: SecuredDatabaseInterface, name: str) -> None:
        chance = random.Random(f"lane {self.seed} {name}")
        caller = Caller(client, name, chance)
        names, weights = [*_WEIGHTS], [*_WEIGHTS.values()]
        while not self.stopping:
            [operation] = chance.choices(names, weights)
            act: Callable[[], Awaitable[object]] = getattr(caller, operation)
            self.operations[operation] += 1
            try:
                await act()
                self.told["done"] += 1
            except MallkuError as error:
                self.told[error.code] += 1
                if error.retryable:
                    await asyncio.sleep(chance.uniform(0, REFUSED_PAUSE_S))
            except Exception as error:  # noqa: BLE001 - a client raises nothing else
                self.surprises.append(f"{operation}: {error!r}")
            await asyncio.sleep(chance.uniform(0, PAUSE_S))


class Caller:
    """One caller; whatever it writes is its own alone, so that nobody else can have written it."""

    def __init__(self, client: SecuredDatabaseInterface, name: str, chance: random.Random) -> None:
        self._client = client
        self._documents = client.collection(COLLECTION)
        self._name = name
        self._chance = chance
        self._count = 0
        self._seen: dict[str, Any] = {}

    def _key(self) -> str:
        return f"k{self._chance.randrange(DOCUMENTS)}"

    def _body(self, **more: Any) -> dict[str, Any]:
        self._count += 1
        return {"by": self._name, "n": self._count, "tag": self._chance.randrange(8), **more}

    async def get(self) -> None:
        """Read one, and remember its revision."""
        found = await self._documents.get(self._key())
        if found is not None:
            self._seen = found

    async def exists(self) -> None:
        """Look whether one is there."""
        await self._documents.has(self._key())

    async def get_many(self) -> None:
        """Read several at once."""
        await self._documents.get_many([self._key() for _ in range(4)])

    async def find(self) -> None:
        """Search."""
        arguments = {"filters": {"tag": self._chance.randrange(8)}}
        await self._client.command("find", COLLECTION, arguments)

    async def insert(self) -> None:
        """Put one there, where there is none."""
        await self._documents.insert({"_key": self._key(), **self._body()})

    async def insert_fresh(self) -> None:
        """Put one there under a key that the store makes."""
        await self._documents.insert(self._body())

    async def update(self) -> None:
        """Change some attributes of one."""
        await self._documents.update(
            {"_key": self._key(), self._chance.choice("xyz"): self._body()}
        )

    async def update_revision(self) -> None:
        """Change one if it is still as it was seen last."""
        if "_rev" in self._seen:
            named = {"_key": self._seen["_key"], "_rev": self._seen["_rev"]}
            await self._documents.update({**named, "seen": self._body()})

    async def replace(self) -> None:
        """Put another one in its place."""
        await self._documents.replace({"_key": self._key(), **self._body()}, return_old=True)

    async def delete(self) -> None:
        """Remove one."""
        await self._documents.delete(self._key(), ignore_missing=self._chance.random() < 0.5)

    async def upsert(self) -> None:
        """Put one there or change it."""
        key = self._key()
        await self._documents.upsert(
            {"_key": key}, {"_key": key, **self._body()}, update={"upserted": self._body()}
        )

    async def update_match(self) -> None:
        """Change all with a tag."""
        arguments = {
            "filters": {"by": self._name, "tag": self._chance.randrange(8)},
            "body": {"matched": self._body()},
            "limit": 5,
        }
        await self._client.command("update-match", COLLECTION, arguments)

    async def transaction(self) -> None:
        """Change two, or none."""
        async with self._client.transaction() as together:
            documents = together.collection(COLLECTION)
            first, second = self._key(), self._key()
            documents.replace({"_key": first, **self._body(pair=second)})
            documents.update({"_key": second, "pair": self._body(first=first)})

    async def insert_many(self) -> None:
        """Put several there, over what stands there."""
        batch = [{"_key": self._key(), **self._body()} for _ in range(3)]
        await self._documents.insert_many(batch, overwrite=True)

    async def query(self) -> None:
        """Change one by a query."""
        text = (
            f"FOR d IN {COLLECTION} FILTER d._key == @key"
            f" UPDATE d WITH {{queried: @body}} IN {COLLECTION}"
        )
        binds = {"key": self._key(), "body": self._body()}
        await self._client.aql.execute(text, bind_vars=binds)

    async def same_key_twice(self) -> None:
        """The same command under the same idempotency key, twice at the same moment."""
        document = {"_key": self._key(), **self._body()}
        named = f"{self._name}-{self._count}-{self._chance.randrange(1_000_000)}"
        both = [
            self._documents.insert(dict(document), idempotency_key=named, overwrite=True)
            for _ in range(2)
        ]
        for result in await asyncio.gather(*both, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
