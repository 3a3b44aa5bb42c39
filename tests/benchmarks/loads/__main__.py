"""A load generator: opens what its setting names, says `ready`, then makes a run for each order.

An order is a line of JSON with the fields of `Load`, its answer one with the fields of `Run`.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final

from mallku_deploy.bench import Call, Load, Run, drive
from tests.benchmarks.children import run_on, standard_input
from tests.benchmarks.loads.arango import driver, store
from tests.benchmarks.loads.echo import echo
from tests.benchmarks.loads.gateway import gateway
from tests.benchmarks.loads.http import peer

_KINDS: Final[dict[str, Callable[[dict[str, Any]], AbstractAsyncContextManager[Call]]]] = {
    "echo": echo,
    "gateway": gateway,
    "peer": peer,
    "arango-store": store,
}


@asynccontextmanager
async def _opened(setting: dict[str, Any]) -> AsyncGenerator[Callable[[Load], Awaitable[Run]]]:
    """What makes a run: a closed loop of calls, or threads where a driver knows nothing else."""
    if setting["kind"] == "arango-driver":
        with driver(setting) as run:
            yield run
        return
    async with _KINDS[setting["kind"]](setting) as call:
        yield partial(drive, call)


async def main(setting: dict[str, Any]) -> None:
    """Serve orders until standard input ends."""
    orders = await standard_input()
    async with _opened(setting) as make:
        print("ready", flush=True)
        while order := await orders.readline():
            gc.collect()
            before = time.process_time()
            run = await make(Load(**json.loads(order)))
            run = replace(run, cpu_s={"client": time.process_time() - before})
            print(json.dumps(asdict(run)), flush=True)


if __name__ == "__main__":
    chosen = json.loads(sys.argv[1])
    run_on(chosen["loop"], main(chosen))
