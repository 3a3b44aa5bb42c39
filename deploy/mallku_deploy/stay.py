"""What `up` does: move in, start the gateway, tell everybody, stay until asked to leave."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mallku_broker.files import make_private_folder
from mallku_contracts.errors import ConfigurationError
from mallku_deploy.encryption import make_streams_key
from mallku_deploy.environment import write_env_file
from mallku_deploy.furnish import furnish
from mallku_deploy.gateway import LocalGateway
from mallku_deploy.house import House
from mallku_deploy.interruption import ASKING
from mallku_deploy.options import DurabilityKind, StoreKind
from mallku_deploy.panel import announce, show_attached, show_leaving, show_ready
from mallku_deploy.speaker import CALLER
from mallku_deploy.tenancy import HouseTaken, Running, meet, tell, tenancy

DEFAULT_WORKERS: Final = 2
"""Worker processes when nobody says how many."""

DEFAULT_PORT: Final = 4222
"""Where NATS servers usually listen."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asked for; None leaves it to us, and fits whatever runs already."""

    workers: int | None = None
    port: int | None = None
    tls: bool = False
    encrypted: bool = False
    store: StoreKind = "embedded"
    durability: DurabilityKind = "flush"
    http_port: int | None = None

    def fits(self, running: Running, house: House) -> bool:
        """Whether a gateway that runs is what was asked for."""
        scheme, _, _ = running.url.partition(":")
        port = int(running.url.rpartition(":")[2])
        return (
            self.workers in {None, running.workers}
            and self.port in {None, 0, port}
            and (scheme == "tls" or not self.tls)
            and (house.streams_key.exists() or not self.encrypted)
            and (running.durability == "fsync" or self.durability == "flush")
        )


async def stay(house: House, wanted: Wanted, env_file: Path | None) -> None:
    """Run a gateway in `house` until SIGINT, SIGTERM or SIGHUP.

    Raises:
        ConfigurationError: a file, a folder or the port cannot be used, or the house is taken by
            an `up` that was asked for something else.
        Unavailable: a worker does not start.
    """
    make_private_folder(house.root)
    try:
        with tenancy(house):
            await _live(house, wanted, env_file)
    except HouseTaken:
        _attach(house, wanted, env_file)


async def _live(house: House, wanted: Wanted, env_file: Path | None) -> None:
    started = time.monotonic()
    leave = _leave_on_signals()
    workers = wanted.workers or DEFAULT_WORKERS
    port = _default_port() if wanted.port is None else wanted.port
    if wanted.encrypted:
        make_streams_key(house)
    gateway = LocalGateway(
        furnish(house, workers),
        port=port,
        announce=announce,
        tls=wanted.tls,
        store=wanted.store,
        durability=wanted.durability,
        http_port=wanted.http_port,
    )
    starting = asyncio.create_task(gateway.__aenter__())
    try:
        if not await _first(starting, leave):
            return
        tell(house, Running(os.getpid(), gateway.url, workers, wanted.durability))
        _write_environment(house, gateway.url, env_file)
        show_ready(house, gateway.url, workers, env_file, time.monotonic() - started)
        await _first(asyncio.create_task(gateway.failed()), leave)
    finally:
        if leave.is_set():
            show_leaving()
        await gateway.__aexit__(None, None, None)


def _default_port() -> int:
    """NATS's own port, or a free one: two gateways on one machine are no mistake."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", DEFAULT_PORT))
        except OSError:
            return 0
    return DEFAULT_PORT


async def _first(work: asyncio.Task[Any], leave: asyncio.Event) -> bool:
    """Wait for the work or for the wish to leave; whether the work was done."""
    leaving = asyncio.create_task(leave.wait())
    await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        leaving.cancel()
        work.result()
        return True
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    return False


def _leave_on_signals() -> asyncio.Event:
    leave = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in ASKING:
        loop.add_signal_handler(number, leave.set)
    return leave


def _write_environment(house: House, url: str, env_file: Path | None) -> None:
    if env_file is not None:
        write_env_file(env_file, house.environment(CALLER, url))


def _attach(house: House, wanted: Wanted, env_file: Path | None) -> None:
    running = meet(house)
    if not wanted.fits(running, house):
        raise ConfigurationError(
            f"a gateway with {running.workers} workers and durability {running.durability} runs in"
            f" {house.root} at {running.url}"
            f" (pid {running.pid}); stop it first, or name another --data"
        )
    _write_environment(house, running.url, env_file)
    show_attached(house, running, env_file)
