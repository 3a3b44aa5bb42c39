"""Echoes every request on one subject; says `ready` once it listens. Ends with SIGTERM."""

from __future__ import annotations

import asyncio
import sys

import nats
from nats.aio.msg import Msg

from tests.benchmarks.children import run_on
from tests.benchmarks.loads.echo import SUBJECT


async def _answer(message: Msg) -> None:
    await message.respond(message.data)


async def main(url: str, loop: str) -> None:
    """Answer until the process is ended."""
    connection = await nats.connect(url)
    await connection.subscribe(f"{SUBJECT}.{loop}", cb=_answer)
    await connection.flush()
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    run_on(sys.argv[2], main(*sys.argv[1:]))
