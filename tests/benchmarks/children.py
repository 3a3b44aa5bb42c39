"""Processes of a benchmark: servers that say `ready`, and load generators that take orders."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Final

from mallku_broker.child import dies_with_parent
from mallku_deploy.bench import Load, Run

READY: Final = "ready"
START_TIMEOUT_S: Final = 30.0
"""From the start of a child until it says that it is ready, seconds."""

RUN_MARGIN_S: Final = 30.0
"""What a run may take beyond its own length, seconds."""

STOP_TIMEOUT_S: Final = 5.0
MAX_LINE_BYTES: Final = 1024 * 1024


class ChildFailed(Exception):
    """A child ended, or did not answer in time; what it said is on standard error."""


class Child:
    """A running `python -m MODULE`."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self._process = process

    @property
    def pid(self) -> int:
        """The process id; the launcher becomes the program, so that it is the program's."""
        return self._process.pid

    async def line(self, timeout_s: float) -> str:
        """The next line that the child prints."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise ChildFailed(f"{self.name} said nothing for {timeout_s:g} s") from None
        if not line:
            raise ChildFailed(f"{self.name} ended")
        return line.decode().strip()

    async def ask(self, order: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Give an order; the answer, which is due within `timeout_s` seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await self.line(timeout_s))
        return answer

    async def run(self, load: Load) -> Run:
        """Have a load generator make one run; the answer holds its own CPU as `client`."""
        return Run(**await self.ask(asdict(load), load.seconds + RUN_MARGIN_S))

    async def stop(self) -> None:
        """End the child, by force when it does not listen."""
        if self._process.returncode is None:
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def child(name: str, module: str, *arguments: str) -> AsyncGenerator[tuple[Child, str]]:
    """A child that is ready, and what it said after the word."""
    command = [sys.executable, "-m", module, *arguments]
    process = await asyncio.create_subprocess_exec(
        *dies_with_parent(command, when=signal.SIGKILL),
        stdin=PIPE,
        stdout=PIPE,
        limit=MAX_LINE_BYTES,
    )
    running = Child(name, process)
    try:
        word, _, rest = (await running.line(START_TIMEOUT_S)).partition(" ")
        if word != READY:
            raise ChildFailed(f"{name} said {word!r} instead of {READY!r}")
        yield running, rest
    finally:
        await running.stop()


@asynccontextmanager
async def server(module: str, *arguments: str) -> AsyncGenerator[tuple[Child, str]]:
    """A server that is ready, and what it said after the word."""
    async with child(module, module, *arguments) as running:
        yield running


@asynccontextmanager
async def load_generator(
    name: str, setting: dict[str, Any], module: str = "tests.benchmarks.loads"
) -> AsyncGenerator[Child]:
    """A load generator that waits for orders."""
    async with child(name, module, json.dumps(setting)) as (running, _):
        yield running


def run_on(loop: str, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` on a loop of this kind: `asyncio` or `uvloop`."""
    if loop == "uvloop":
        import uvloop

        uvloop.run(work)
    else:
        asyncio.run(work)


async def standard_input() -> asyncio.StreamReader:
    """Standard input, to be read without holding the loop up."""
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader
