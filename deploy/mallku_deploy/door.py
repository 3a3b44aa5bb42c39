"""The HTTP door as a process: one in the foreground, and the one that `up --http` keeps."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import secrets
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mallku_broker.child import dies_with_parent
from mallku_broker.files import make_private_folder, write_private_text
from mallku_client.http.settings import DoorSettings
from mallku_client.settings import ClientSettings
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.policy import Policy
from mallku_deploy.backoff import delay_s
from mallku_deploy.events import Announce, DoorLost, DoorReady
from mallku_deploy.house import House
from mallku_deploy.interruption import ASKING
from mallku_deploy.speaker import CALLER

STOP_S: Final = 8.0
"""From SIGTERM until the door's process is killed, seconds: it drains for less."""

SECRET_BYTES: Final = 32
READY: Final = "ready "

_MISSING: Final = """\
the policy has no principal of kind door: add one to {path} and raise its version, such as

  http_door:
    kind: door
    roles: [service]
    acts_for: [mallku]
    origins: {{"http://127.0.0.1:8080": mallku}}"""


def run_door(client: ClientSettings, settings: DoorSettings) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; say `ready URL` once requests are taken.

    Raises:
        ConfigurationError, GatewayUnreachable: as `mallku_client.http.serving.serving`.
    """
    level = settings.log_level.upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(_serve(client, settings))


async def _serve(client: ClientSettings, settings: DoorSettings) -> None:
    from mallku_client.http.serving import serve

    stopping = asyncio.Event()
    for number in ASKING:
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await serve(client, settings, stopping, _say_ready)


def _say_ready(url: str) -> None:
    sys.stdout.write(f"{READY}{url}\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class DoorPlan:
    """What the door of a house is started with."""

    environment: Mapping[str, str]


def plan_door(house: House, policy: Policy, url: str, port: int) -> DoorPlan:
    """The environment of the house's door, whose secrets are made where they are missing.

    Raises:
        ConfigurationError: the policy has no door.
    """
    doors = (name for name, each in policy.principals.items() if each.kind == "door")
    name = next((each for each in doors if house.principal(each).key.exists()), None)
    if name is None:
        raise ConfigurationError(_MISSING.format(path=house.policy))
    origins = policy.principals[name].origins
    environment = house.environment(name, url) | {
        "MALLKU_HTTP_PORT": str(port),
        "MALLKU_HTTP_LOG_LEVEL": os.environ.get("MALLKU_HTTP_LOG_LEVEL", "warning"),
        "MALLKU_HTTP_SERVICES_FILE": str(_furnish_services(house)),
    }
    if origins:
        environment["MALLKU_HTTP_ORIGIN"] = next(iter(origins))
    return DoorPlan(environment)


def _furnish_services(house: House) -> Path:
    """A secret for the house's own caller, so that whoever may read it can use HTTP at once."""
    folder = house.http
    make_private_folder(folder)
    services, secret = folder / "services.json", house.http_secret
    if services.exists():
        return services
    made = secrets.token_urlsafe(SECRET_BYTES)
    write_private_text(secret, made + "\n")
    files = house.principal(CALLER)
    entry = {
        "secret_sha256": hashlib.sha256(made.encode()).hexdigest(),
        "key_file": str(files.key),
        "token_file": str(files.token),
    }
    write_private_text(services, json.dumps({CALLER: entry}, indent=2) + "\n")
    return services


class DoorKeeper:
    """Keeps one door running: started again, a little later each time, whenever it ended."""

    def __init__(self, plan: DoorPlan, announce: Announce) -> None:
        self._plan = plan
        self._announce = announce
        self._process: Process | None = None

    async def keep(self) -> None:
        """Let one process follow the other until cancelled; then stop the last one in order."""
        failures = 0
        try:
            while True:
                said_ready, reason = await self._live()
                failures = 1 if said_ready else failures + 1
                wait_s = delay_s(failures)
                self._announce(DoorLost(reason, wait_s))
                await asyncio.sleep(wait_s)
        finally:
            await self._stop()

    async def _live(self) -> tuple[bool, str]:
        self._process = process = await asyncio.create_subprocess_exec(
            *dies_with_parent(_command()),
            stdin=DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env=_environment(self._plan.environment),
            start_new_session=True,  # Ctrl-C is for us, who stop in order
        )
        said_ready = False
        lines = process.stdout or ()
        async for line in lines:  # type: ignore[union-attr]  # there is a pipe
            text = line.decode("utf-8", "replace").strip()
            if text.startswith(READY):
                said_ready = True
                self._announce(DoorReady(text.removeprefix(READY), process.pid))
        return said_ready, f"ended with {await process.wait()}"

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            await process.wait()


def _command() -> list[str]:
    # -P: the working directory is no place to import from.
    return [sys.executable, "-P", "-m", "mallku_deploy.entry", "http"]


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """Ours without what belongs to other callers, and the door's own on top."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MALLKU_") or name.startswith("MALLKU_HTTP_")
    }
    return inherited | dict(own)
