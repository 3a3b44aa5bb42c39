"""A real Prometheus: on PATH, else out of Debian's package, which is not installed for it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PACKAGE = "prometheus"
FETCH_S = 300.0
READY_S = 20.0
LOOK_S = 0.1


def find_program(name: str) -> Path:
    """`prometheus` or `promtool`; skips the test, saying why, where neither can be had."""
    known = shutil.which(name)
    if known:
        return Path(known)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "mallku-gateway" / "prometheus"
    found = folder / "usr" / "bin" / name
    if not found.exists():
        _fetch(folder)
    return found


def _fetch(folder: Path) -> None:
    for needed in ("apt-get", "dpkg-deb"):
        if shutil.which(needed) is None:
            pytest.skip(f"there is no Prometheus on PATH, and no {needed} to get one with")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(
            ["apt-get", "download", PACKAGE],  # noqa: S607 - wherever it is
            cwd=folder,
            capture_output=True,
            timeout=FETCH_S,
            check=True,
        )
        package = next(folder.glob("prometheus_*.deb"))
        subprocess.run(
            ["dpkg-deb", "-x", package.name, "."],  # noqa: S607 - as above
            cwd=folder,
            capture_output=True,
            timeout=FETCH_S,
            check=True,
        )
    except (subprocess.SubprocessError, StopIteration) as error:
        pytest.skip(f"there is no Prometheus on PATH, and Debian's package cannot be had: {error}")


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One run of `promtool`."""
    return subprocess.run(
        [find_program("promtool"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    url: str

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression gives now: its series."""
        said = await self._get("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        assert said["status"] == "success", said
        result = said["data"]["result"]
        return [{"value": result}] if said["data"]["resultType"] == "scalar" else list(result)

    async def rules(self) -> list[dict[str, Any]]:
        """The rules that it evaluates, with their health."""
        said = await self._get("/api/v1/rules")
        return [rule for group in said["data"]["groups"] for rule in group["rules"]]

    async def _get(self, path: str) -> dict[str, Any]:
        return await asyncio.to_thread(_get_json, self.url + path)


def _get_json(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=READY_S) as answer:  # noqa: S310 - ours
        said: dict[str, Any] = json.load(answer)
        return said


@asynccontextmanager
async def running_prometheus(folder: Path, configuration: Path) -> AsyncGenerator[Prometheus]:
    """Start one on loopback with this configuration, and stop it at the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            find_program("prometheus"),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )
    prometheus = Prometheus(f"http://127.0.0.1:{port}")
    try:
        async with asyncio.timeout(READY_S):
            while not await _answers(prometheus):
                assert process.returncode is None, (folder / "prometheus.log").read_text()
                await asyncio.sleep(LOOK_S)
        yield prometheus
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _answers(prometheus: Prometheus) -> bool:
    try:
        return bool(await prometheus.query("vector(1)"))
    except OSError:
        return False
