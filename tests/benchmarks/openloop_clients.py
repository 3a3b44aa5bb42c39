"""Some of the clients of `openloop`: a program that connects them, then sends at drawn times.

It says `ready`, takes one order to connect and then one for each round, each a line of JSON, and
answers each with a line of JSON. It is started by `openloop` alone.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
from array import array
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import uvloop

from mallku_client import SecuredDatabaseInterface
from mallku_client.settings import ClientSettings
from mallku_contracts.errors import MallkuError
from mallku_deploy.bench.calls import document
from tests.benchmarks.children import READY, standard_input

COLLECTION: Final = "openloop"
CONNECTING: Final = 8
"""Clients of one process that connect at a time."""

FIRST_CALLS: Final = 3
"""Of each client, before any round: it has met every worker, most likely, and its token."""

DOCUMENTS: Final = 1_000
INSERT_SHARE: Final = 0.1
SIZE: Final = 512
_US: Final = 1e6


@dataclass(frozen=True, slots=True)
class Order:
    """One round of one process.

    Attributes:
        begin: On the clock of the machine (`time.monotonic`), which all its processes share.
        rate: Commands a second, on average.
        warm_s: Seconds at the beginning that are driven and not counted.
        seconds: What is counted, after that.
        seed: What times, clients and documents are drawn from.
    """

    begin: float
    rate: float
    warm_s: float
    seconds: float
    seed: str


@dataclass
class Told:
    """What became of the commands: microseconds from the time at which each was to leave.

    Attributes:
        left: Until it was begun, which says how late this process itself was.
        answered: Until its verified answer was there, in the order of the answers.
    """

    left: array[int] = field(default_factory=lambda: array("q"))
    answered: array[int] = field(default_factory=lambda: array("q"))
    errors: Counter[str] = field(default_factory=Counter[str])

    def as_json(self) -> dict[str, Any]:
        """What the order is answered with."""
        return {"left": list(self.left), "answered": list(self.answered), "errors": self.errors}


async def connect(
    settings: ClientSettings, count: int, stack: AsyncExitStack
) -> list[SecuredDatabaseInterface]:
    """So many clients, each with its own connection, key, token and trust."""
    clients: list[SecuredDatabaseInterface] = []
    while len(clients) < count:
        some = min(CONNECTING, count - len(clients))
        opening = (SecuredDatabaseInterface.connect(settings=settings) for _ in range(some))
        clients += [
            await stack.enter_async_context(client) for client in await asyncio.gather(*opening)
        ]
    return clients


async def call_first(clients: list[SecuredDatabaseInterface]) -> None:
    """Have each client make its first calls, one client after the other."""
    for client in clients:
        for number in range(FIRST_CALLS):
            await client.collection(COLLECTION).get(f"d{number}")


async def drive(clients: list[SecuredDatabaseInterface], order: Order) -> Told:
    """Send commands at the times of a Poisson process, whatever becomes of those before."""
    chance, told = random.Random(order.seed), Told()
    at, under_way = 0.0, set[asyncio.Task[None]]()
    while (at := at + chance.expovariate(order.rate)) < order.warm_s + order.seconds:
        due = order.begin + at
        await asyncio.sleep(max(due - time.monotonic(), 0))
        inserts, client = chance.random() < INSERT_SHARE, chance.choice(clients)
        key = None if inserts else f"d{chance.randrange(DOCUMENTS)}"
        counted = told if at >= order.warm_s else Told(errors=told.errors)
        task = asyncio.create_task(_send(client, key, due, counted))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    return told


async def _send(client: SecuredDatabaseInterface, key: str | None, due: float, told: Told) -> None:
    told.left.append(int((time.monotonic() - due) * _US))
    collection = client.collection(COLLECTION)
    try:
        if key is None:
            await collection.insert(document(0, SIZE))
        else:
            await collection.get(key)
    except MallkuError as error:
        told.errors[error.code] += 1
    else:
        told.answered.append(int((time.monotonic() - due) * _US))


def _answer(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


async def main(setting: dict[str, Any]) -> None:
    """Serve orders until standard input ends."""
    settings = ClientSettings.from_environment(setting["environment"])
    orders = await standard_input()
    print(READY, flush=True)
    async with AsyncExitStack() as stack:
        await orders.readline()
        clients = await connect(settings, setting["clients"], stack)
        await call_first(clients)
        # A service has one client, and no search among hundreds for what can be forgotten.
        gc.collect()
        gc.freeze()
        _answer({"connected": len(clients)})
        while line := await orders.readline():
            _answer((await drive(clients, Order(**json.loads(line)))).as_json())


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.argv[1])))
