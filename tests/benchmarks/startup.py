"""What it costs before the first command: imports, a start, and an idle worker's memory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from mallku_broker.child import dies_with_parent
from mallku_deploy.bench import Spread

PARTS: Final = "import nats, pydantic, nacl.signing"
"""What the client's import is compared with."""

CLIENT: Final = "import mallku_client"
FIRST_CALL: Final = (
    f"{CLIENT}, mallku_client.nats_transport, mallku_contracts.operations, mallku_contracts.tokens"
)
"""The client, and what it imports until its first answer."""

MAX_IMPORT_RATIO: Final = 1.3
MAX_START_S: Final = 3.0
MAX_WORKER_MB: Final = 90.0

MAX_STARTS: Final = 3
"""Houses that are started, each twice."""

_TIMED: Final = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
_TIMEOUT_S: Final = 30.0
_LOOK_S: Final = 0.005
_IDLE_S: Final = 1.0
"""From readiness until the memory is read, seconds: late imports and first looks are done."""

_RSS: Final = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)
_KB_PER_MB: Final = 1024


@dataclass(frozen=True, slots=True)
class Startup:
    """What was measured.

    Attributes:
        imports_s: Seconds of each import statement in a fresh interpreter.
        import_ratios: The client's imports over that of its parts, round by round.
        ready_s: Seconds from `mallku-gateway up` to its environment file, with two workers; a
            house that is new, and one that was lived in.
        worker_mb: Resident memory of an idle worker, MiB.
    """

    imports_s: dict[str, Spread]
    import_ratios: dict[str, Spread]
    ready_s: dict[str, Spread]
    worker_mb: Spread


def measure(rounds: int) -> Startup:
    """Measure, imports in turns with their bar; starts `MAX_STARTS` times at most."""
    taken: dict[str, list[float]] = {statement: [] for statement in (PARTS, CLIENT, FIRST_CALL)}
    for statement in taken:  # files come into the cache
        _import_s(statement)
    for _ in range(rounds):
        for statement, seconds in taken.items():
            seconds.append(_import_s(statement))
    ready, memory = _starts(min(rounds, MAX_STARTS))
    return Startup(
        imports_s={statement: Spread.of(seconds) for statement, seconds in taken.items()},
        import_ratios={
            client: Spread.of(a / b for a, b in zip(taken[client], taken[PARTS], strict=True))
            for client in (CLIENT, FIRST_CALL)
        },
        ready_s={what: Spread.of(seconds) for what, seconds in ready.items()},
        worker_mb=Spread.of(memory),
    )


def _import_s(statement: str) -> float:
    command = [sys.executable, "-c", _TIMED.format(statement)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=_TIMEOUT_S)
    return float(done.stdout)


def _starts(rounds: int) -> tuple[dict[str, list[float]], list[float]]:
    ready: dict[str, list[float]] = {"a new house": [], "the same house again": []}
    memory: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="mallku-") as folder:
            for seconds in ready.values():
                with _up(Path(folder)) as (pid, took_s):
                    seconds.append(took_s)
                    if seconds is ready["the same house again"]:
                        time.sleep(_IDLE_S)
                        memory += [_resident_mb(worker) for worker in _workers(pid)]
    return ready, memory


@contextmanager
def _up(folder: Path) -> Generator[tuple[int, float]]:
    """A running `up` and how long it took to be ready, which its environment file says."""
    env_file = folder / "env"
    env_file.unlink(missing_ok=True)
    arguments = ["up", "--data", str(folder / "house"), "--port", "0", "--env-file", str(env_file)]
    command = [sys.executable, "-m", "mallku_deploy.entry", *arguments]
    begun = time.perf_counter()
    process = subprocess.Popen(
        dies_with_parent(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not env_file.exists():
            if process.poll() is not None or time.perf_counter() - begun > _TIMEOUT_S:
                raise RuntimeError(f"`up` is not ready (exit code {process.poll()})")
            time.sleep(_LOOK_S)
        yield process.pid, time.perf_counter() - begun
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_TIMEOUT_S)


def _workers(pid: int) -> list[int]:
    children = psutil.Process(pid).children()
    return [child.pid for child in children if child.cmdline()[-1:] == ["worker"]]


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = _RSS.search(status)
    if found is None:
        raise RuntimeError(f"/proc/{pid}/status names no VmRSS")
    return int(found[1]) / _KB_PER_MB


if __name__ == "__main__":
    from tests.benchmarks.report import show_startup

    os.umask(0o077)
    show_startup(measure(rounds=5))
