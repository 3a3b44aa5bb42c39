"""Which HTTP client gives the peer its best numbers: `python -m tests.benchmarks.peer_clients`."""

from __future__ import annotations

import asyncio
import http.client
import tempfile
import threading
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx

from mallku_deploy.bench import Load, Run, drive, summarize
from mallku_deploy.bench.policy import lift_limits
from mallku_deploy.furnish import furnish
from mallku_deploy.house import House
from tests.benchmarks.children import run_on
from tests.benchmarks.loads.http import COLLECTION, peer
from tests.benchmarks.stage import LOOPS, PeerOnStage, open_peer

LOAD: Final = Load(seconds=1.5)
ROUNDS: Final = 3


def main() -> None:
    """Start a peer, let each client get the same document in turns, and print what came out."""
    with tempfile.TemporaryDirectory(prefix="mallku-") as folder:
        asyncio.run(_against_peer(Path(folder)))


async def _against_peer(folder: Path) -> None:
    house = lift_limits(House(folder / "house"))
    furnish(house, workers=1)
    async with open_peer(house, folder, remember=True) as on_stage:
        for _ in range(ROUNDS):
            for loop in LOOPS:
                run = await asyncio.to_thread(_on_loop, loop, on_stage)
                _tell(f"asyncio protocol on {loop}", run)
            _tell("http.client in threads", await asyncio.to_thread(_threads, on_stage))
            _tell("httpx", await asyncio.to_thread(_httpx, on_stage))


def _tell(name: str, run: Run) -> None:
    print(f"{name:<28} {run.throughput:8.0f}/s  p50 {run.p50_ms:5.1f}  p99 {run.p99_ms:6.1f} ms")


def _on_loop(loop: str, on_stage: PeerOnStage) -> Run:
    found: list[Run] = []

    async def run() -> None:
        setting: dict[str, Any] = {"operation": "get", "size": 512, "documents": 10}
        setting |= {"port": on_stage.port, "token": on_stage.token, "in_flight": LOAD.in_flight}
        async with peer(setting) as call:
            found.append(await drive(call, LOAD))

    run_on(loop, run())
    return found[0]


def _threads(on_stage: PeerOnStage) -> Run:
    numbers: Iterator[int] = iter(range(LOAD.count))
    latencies: array[float] = array("d")
    begun = time.perf_counter()
    end = begun + LOAD.seconds

    def caller() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", on_stage.port)
        for _ in numbers:
            asked = time.perf_counter()
            if asked >= end:
                return
            connection.request("GET", _PATH, headers=_headers(on_stage))
            connection.getresponse().read()
            latencies.append(time.perf_counter() - asked)

    callers = [threading.Thread(target=caller) for _ in range(LOAD.in_flight)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    return summarize(latencies, time.perf_counter() - begun)


def _httpx(on_stage: PeerOnStage) -> Run:
    async def run() -> Run:
        limits = httpx.Limits(max_connections=LOAD.in_flight)
        base = f"http://127.0.0.1:{on_stage.port}"
        async with httpx.AsyncClient(base_url=base, limits=limits) as client:
            headers = _headers(on_stage)
            return await drive(lambda _: client.get(_PATH, headers=headers), LOAD)

    return asyncio.run(run())


_PATH: Final = f"/documents/{COLLECTION}/none"


def _headers(on_stage: PeerOnStage) -> dict[str, str]:
    return {"Authorization": f"Bearer {on_stage.token}"}


if __name__ == "__main__":
    main()
