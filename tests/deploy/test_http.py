"""The door as a process: by `up --http`, and by `http` anywhere else; its files and its end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import stat
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from mallku_contracts.errors import ConfigurationError
from mallku_deploy.cli import app
from mallku_deploy.door import plan_door
from mallku_deploy.furnish import furnish
from mallku_deploy.house import House

START_S = 30.0
_READY = re.compile(r"the HTTP door is ready at (http://\S+) \(pid (\d+)\)")


@asynccontextmanager
async def up(folder: Path) -> AsyncGenerator[Process]:
    """A gateway with a door on free ports."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mallku_deploy.entry", "up", "--http", "--http-port", "0"),
        *("--port", "0", "--workers", "1", "--data", str(folder)),
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()


async def ready(process: Process) -> tuple[str, int]:
    """Where the door serves, and its process, once it says so."""
    assert process.stderr is not None
    async with asyncio.timeout(START_S):
        async for line in process.stderr:
            if found := _READY.search(line.decode()):
                return found.group(1), int(found.group(2))
    raise AssertionError("the gateway ended before its door was ready")


@pytest.mark.timeout(120)
async def test_up_serves_http_and_keeps_serving(tmp_path: Path) -> None:
    """The secret in the house opens the door; a door that is killed is replaced by another."""
    async with up(tmp_path / "house") as process:
        url, pid = await ready(process)
        secret = House(tmp_path / "house").http_secret
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        headers = {"Authorization": f"Bearer {secret.read_text().strip()}"}
        async with httpx.AsyncClient(base_url=url, headers=headers) as http:
            made = await http.post("/api/v1/collections", json={"name": "memory_anchors"})
            assert made.status_code == 201, made.text
        os.kill(pid, signal.SIGKILL)
        again, another = await ready(process)
        assert another != pid
        async with httpx.AsyncClient(base_url=again, headers=headers) as http:
            place = "/api/v1/collections/memory_anchors/documents"
            assert (await http.post(place, json={})).status_code == 201
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        with pytest.raises(ProcessLookupError):
            os.kill(another, 0)


def test_plan_names_the_door_of_the_policy(tmp_path: Path) -> None:
    """The environment of the house's door is that of a client, with its origin and services."""
    furnished = furnish(House(tmp_path), 1)
    plan = plan_door(furnished.house, furnished.policy, "nats://127.0.0.1:1", 8080)
    assert plan.environment["MALLKU_PRINCIPAL"] == "http_door"
    assert plan.environment["MALLKU_HTTP_ORIGIN"] == "http://127.0.0.1:8080"
    services = Path(plan.environment["MALLKU_HTTP_SERVICES_FILE"])
    first = services.read_text()
    assert furnished.house.http_secret.read_text().strip() not in first
    plan_door(furnished.house, furnished.policy, "nats://127.0.0.1:1", 8080)
    assert services.read_text() == first


def test_policy_without_a_door_says_what_to_add(tmp_path: Path) -> None:
    """Whoever wants a door and has none in the policy is shown one."""
    furnished = furnish(House(tmp_path), 1)
    principals = {
        name: each for name, each in furnished.policy.principals.items() if each.kind != "door"
    }
    without = furnished.policy.model_copy(update={"principals": principals})
    with pytest.raises(ConfigurationError, match="kind: door"):
        plan_door(furnished.house, without, "nats://127.0.0.1:1", 8080)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"MALLKU_HTTP_PORT": "many"}, "MALLKU_HTTP_PORT"),
        ({"MALLKU_HTTP_WAIT": "900"}, "MALLKU_HTTP_WAIT"),
        ({"MALLKU_HTTP_LOG_LEVEL": "loud"}, "MALLKU_HTTP_LOG_LEVEL"),
        ({"MALLKU_HTTP_PORT": "0"}, "MALLKU_KEY_FILE"),
    ],
)
def test_what_is_missing_or_wrong_is_named(environment: dict[str, str], said: str) -> None:
    """One coded line says which variable, and what it may hold."""
    result = CliRunner().invoke(app, ["http"], env=environment | {"COLUMNS": "200"})
    assert result.exit_code != 0
    assert said in result.output + result.stderr
