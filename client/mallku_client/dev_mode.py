"""Development mode: a gateway of the client's own, as a child process, through the command line.

The same gateway as everywhere, with the same checks; only that nobody had to start it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mallku_broker.child import dies_with_parent
from mallku_client.settings import ClientSettings
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable

COMMAND: Final = "mallku-gateway"

POLL_S: Final = 0.05
"""How often the env file is looked for, seconds."""

STOP_TIMEOUT_S: Final = 5.0
"""From the signal to stop until the gateway is killed, seconds."""

_TOLD_BYTES: Final = 2_000  # the end of the log, in an error
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class DevGateway:
    """A running gateway; `environment` is how to reach it."""

    environment: dict[str, str]
    _process: asyncio.subprocess.Process
    _house: Path

    @classmethod
    async def start(cls, settings: ClientSettings) -> DevGateway:
        """Start `mallku-gateway up` and return when it is ready.

        Raises:
            ConfigurationError: this is production, or the command is not installed.
            GatewayUnreachable: it ended, or was not ready in time; holds its last words.
        """
        if settings.production:
            raise ConfigurationError(
                "MALLKU_DEV_MODE is refused while MALLKU_PRODUCTION is true: "
                "set MALLKU_API_GATEWAY_URL to the gateway"
            )
        command = _find_command()
        house = Path(tempfile.mkdtemp(prefix="mallku-dev-"))
        try:
            return await _start(command, house, settings)
        except BaseException:
            shutil.rmtree(house, ignore_errors=True)
            raise

    async def stop(self) -> None:
        """Stop the gateway and remove its temporary folder; twice is fine."""
        await _stop(self._process)
        shutil.rmtree(self._house, ignore_errors=True)


def _find_command() -> str:
    beside = Path(sys.executable).with_name(COMMAND)
    found = str(beside) if beside.is_file() else shutil.which(COMMAND)
    if found is None:
        raise ConfigurationError(
            f"MALLKU_DEV_MODE needs the command {COMMAND}, which is neither beside "
            f"{sys.executable} nor on PATH: pip install 'mallku-gateway[embedded,workers]'"
        )
    return found


async def _start(command: str, house: Path, settings: ClientSettings) -> DevGateway:
    data, env_file, log_file = settings.dev_data or house / "data", house / "env", house / "log"
    arguments = [command, "up", "--workers", "1", "--port", "0"]
    arguments += ["--env-file", str(env_file), "--data", str(data)]
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *dies_with_parent(arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the caller, who then stops the gateway
        )
    try:
        environment = await _wait_until_ready(
            process, env_file, log_file, settings.dev_start_timeout_s
        )
    except BaseException:
        await _stop(process)
        raise
    kept = f"are kept in {data}" if settings.dev_data else "go with it (MALLKU_DEV_DATA keeps them)"
    _LOG.warning(
        "MALLKU_DEV_MODE: started a gateway of our own (pid %d); its documents %s",
        process.pid,
        kept,
    )
    return DevGateway(environment, process, house)


async def _wait_until_ready(
    process: asyncio.subprocess.Process, env_file: Path, log_file: Path, timeout_s: float
) -> dict[str, str]:
    try:
        async with asyncio.timeout(timeout_s):
            while (text := _read_if_there(env_file)) is None:
                if process.returncode is not None:
                    raise GatewayUnreachable(
                        f"{COMMAND} up ended with exit code {process.returncode}: "
                        + _last_words(log_file),
                        retryable=False,
                    )
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise GatewayUnreachable(
            f"{COMMAND} up was not ready within {timeout_s:g} s (MALLKU_DEV_START_TIMEOUT): "
            + _last_words(log_file)
        ) from None
    return read_env_file(text)


def _read_if_there(path: Path) -> str | None:
    return path.read_text("utf-8") if path.is_file() else None


def read_env_file(text: str) -> dict[str, str]:
    """The variables of an env file: `NAME=value` or `export NAME=value`, quoted as in a shell.

    Raises:
        ConfigurationError: a line is something else; says which.
    """
    variables: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            raise ConfigurationError(f"env file, line {number}: a quote has no end") from None
        if words[:1] == ["export"]:
            del words[0]
        elif not words:
            continue
        name, equals, value = words[0].partition("=") if len(words) == 1 else ("", "", "")
        if not (equals and name.isidentifier()):
            raise ConfigurationError(f"env file, line {number}: expected NAME=value")
        variables[name] = value
    return variables


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _last_words(log_file: Path) -> str:
    with log_file.open("rb") as log:
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - _TOLD_BYTES))
        return log.read().decode("utf-8", "replace").strip() or "it said nothing"
