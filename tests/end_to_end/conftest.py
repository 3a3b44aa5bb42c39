from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

COMMAND = (sys.executable, "-m", "mallku_deploy.entry")
READY_S = 30.0
EVENT_S = 20.0
LOOK_S = 0.05


def clean_environment() -> dict[str, str]:
    """Ours, without anything that a gateway outside of the test would mean."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLKU_")}
    return kept | {"COLUMNS": "200", "NO_COLOR": "1"}


def until(what: str, condition: Callable[[], bool], timeout_s: float = EVENT_S) -> None:
    """Wait for a condition, and fail with its name when it does not come true."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= end:
            pytest.fail(f"within {timeout_s} s: {what}")
        time.sleep(LOOK_S)


@dataclass
class Up:
    """A real `mallku-gateway up` and everything that can be seen of it."""

    folder: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, folder: Path, *arguments: str) -> Up:
        """Start it without waiting."""
        folder.mkdir(exist_ok=True)
        command = [*COMMAND, "up", "--data", str(folder / "house")]
        command += ["--env-file", str(folder / "env"), *(arguments or ("--port", "0"))]
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=clean_environment(),
                start_new_session=True,
            )
        return cls(folder, process)

    @property
    def house(self) -> Path:
        """The data directory."""
        return self.folder / "house"

    @property
    def env_file(self) -> Path:
        """What a client needs."""
        return self.folder / "env"

    @property
    def said(self) -> str:
        """Everything that was said aloud."""
        return (self.folder / "log").read_text()

    def ready(self) -> Up:
        """Wait until it is."""
        until(
            f"ready; it said: {self.said}",
            lambda: "Ctrl-C stops it" in self.said or self.process.poll() is not None,
            READY_S,
        )
        assert self.process.poll() is None, self.said
        return self

    def children(self) -> list[psutil.Process]:
        """Its worker processes and its NATS server."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        return [child.pid for child in self.children() if "worker" in child.cmdline()]

    def server(self) -> int:
        """The process id of the NATS server."""
        return next(child.pid for child in self.children() if child.name() == "nats-server")

    def interrupt(self) -> int:
        """Press Ctrl-C, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(10)

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`mallku-gateway call` in the environment that was written."""
        return run("call", "--env-file", str(self.env_file), *arguments)


def run(
    *arguments: str, stdin: bytes = b"", variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """One run of the command line, with these variables in an environment that is empty else."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        timeout=30,
        check=False,
        env=clean_environment() | dict(variables or {}),
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def end(up: Up) -> None:
    """Stop it, however it is."""
    if up.process.poll() is None:
        up.process.terminate()
        try:
            up.process.wait(10)
        except subprocess.TimeoutExpired:
            up.process.kill()
            up.process.wait()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A gateway that the tests of a module share and leave as it is."""
    started = Up.start(tmp_path_factory.mktemp("up"))
    try:
        yield started.ready()
    finally:
        end(started)


@pytest.fixture
def own_up(tmp_path: Path) -> Iterator[Up]:
    """A gateway of the test's own, to be ill-treated."""
    started = Up.start(tmp_path / "own")
    try:
        yield started.ready()
    finally:
        end(started)
