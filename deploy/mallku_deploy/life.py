"""One worker process, from its start to its end, and what its heartbeat says meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from mallku_broker.child import dies_with_parent

START_TIMEOUT_S: Final = 20.0
"""From the start of a worker until it says that it is ready, seconds."""

SILENCE_S: Final = 4.5
"""Without a heartbeat for this long a worker is asked once more, seconds."""

GRACE_S: Final = 0.5
"""The second chance, seconds: it may have been us who did not listen."""

EXIT_WAIT_S: Final = 2.0
"""From the end of the heartbeat to the end of the process, seconds."""

_ENVIRONMENT_KEPT: Final = "MALLKU_WORKER_"


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """A place for a worker: its name, and the settings that its process gets."""

    slot: str
    environment: Mapping[str, str]


class WorkerLife:
    """A running worker process; `start` makes one."""

    def __init__(self, process: Process, heartbeat: asyncio.StreamReader) -> None:
        self._process = process
        self._heartbeat = heartbeat
        self._started = time.monotonic()

    @classmethod
    async def start(cls, spec: WorkerSpec) -> Self:
        """Start a worker that ends with us, whatever becomes of us."""
        reader, writer = os.pipe()
        try:
            heartbeat = await _reading(reader)
            process = await asyncio.create_subprocess_exec(
                *dies_with_parent(_command(), when=signal.SIGKILL),
                stdin=DEVNULL,
                env=_environment(spec, writer),
                pass_fds=(writer,),
                start_new_session=True,  # Ctrl-C is for the supervisor, which stops in order
            )
        finally:
            os.close(writer)
        return cls(process, heartbeat)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def age_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    async def watch(self, ready: Callable[[str], None]) -> str:
        """Listen until the worker ends or falls silent, and return which, in words.

        Args:
            ready: Called once the worker answers commands, with its instance id and, where it
                serves metrics, a blank and their address.
        """
        limit = START_TIMEOUT_S
        while True:
            line = await self._line(limit)
            if line is None:
                return f"was silent for {limit + GRACE_S:g} s"
            if not line:
                return await self._end()
            word, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
            if word == "ready":
                ready(rest)
            limit = SILENCE_S

    def ask_to_end(self) -> None:
        """Send SIGTERM: finish what is in flight, then exit."""
        self._signal(signal.SIGTERM)

    async def kill(self) -> None:
        """End the process now, if it has not ended, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        # The library's own `kill` looks whether the process has ended, and takes the exit code away
        # from whoever waits for it.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def _line(self, limit: float) -> bytes | None:
        for wait in (limit, GRACE_S):
            try:
                async with asyncio.timeout(wait):
                    return await self._heartbeat.readline()
            except TimeoutError:
                continue
            except ValueError:  # longer than any line of a heartbeat; it lives
                return b"\n"
        return None

    async def _end(self) -> str:
        try:
            async with asyncio.timeout(EXIT_WAIT_S):
                code = await self._process.wait()
        except TimeoutError:
            return "closed its heartbeat and went on"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


async def _reading(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb")
    )
    return reader


def _command() -> list[str]:
    # -P: the working directory is no place to import from.
    return [sys.executable, "-P", "-m", "mallku_deploy.entry", "worker"]


def _environment(spec: WorkerSpec, descriptor: int) -> dict[str, str]:
    """Ours without what belongs to callers, and the worker's own settings on top."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MALLKU_") or name.startswith(_ENVIRONMENT_KEPT)
    }
    return inherited | dict(spec.environment) | {"MALLKU_WORKER_HEARTBEAT_FD": str(descriptor)}
