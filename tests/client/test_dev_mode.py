from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mallku_client import SecuredDatabaseInterface, dev_mode
from mallku_client.dev_mode import DevGateway, read_env_file
from mallku_client.settings import ClientSettings
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable

READY = """
import os, signal, sys
arguments = dict(zip(sys.argv[2::2], sys.argv[3::2]))
with open(arguments["--env-file"] + ".new", "w") as file:
    file.write("MALLKU_API_GATEWAY_URL=nats://127.0.0.1:1\\n")
    file.write(f"MALLKU_TEST_DATA='{arguments['--data']}'\\nMALLKU_TEST_PID={os.getpid()}\\n")
os.replace(arguments["--env-file"] + ".new", arguments["--env-file"])
signal.pause()
"""
ENDS = "import sys; sys.exit('the port is taken')"
SLEEPS = "import signal; print('still thinking', flush=True); signal.pause()"

StandIn = Callable[[str], None]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Put a program in the place of `mallku-gateway`: a real child process that does one thing."""

    def install(code: str) -> None:
        (tmp_path / "code.py").write_text(code)
        command = tmp_path / "mallku-gateway"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path}/code.py" "$@"\n')
        command.chmod(0o700)
        monkeypatch.setattr(dev_mode, "_find_command", lambda: str(command))

    return install


async def test_a_gateway_of_our_own(
    stand_in: StandIn, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Started, waited for, told aloud, and stopped with everything that it left."""
    stand_in(READY)
    gateway = await DevGateway.start(ClientSettings(dev_mode=True))
    data, pid = (gateway.environment[f"MALLKU_TEST_{name}"] for name in ("DATA", "PID"))
    house = Path(data).parent
    assert house.stat().st_mode & 0o777 == 0o700
    assert "MALLKU_DEV_MODE: started a gateway of our own" in caplog.text
    await gateway.stop()
    await gateway.stop()
    assert not house.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


async def test_its_data_may_stay(stand_in: StandIn, tmp_path: Path) -> None:
    """With `MALLKU_DEV_DATA` the gateway is told to keep its data there."""
    stand_in(READY)
    settings = ClientSettings(dev_mode=True, dev_data=tmp_path / "kept")
    gateway = await DevGateway.start(settings)
    await gateway.stop()
    assert gateway.environment["MALLKU_TEST_DATA"] == str(tmp_path / "kept")


async def test_connect_uses_it(stand_in: StandIn) -> None:
    """Without a URL, `connect` goes on with what the gateway of our own says of itself."""
    stand_in(READY)
    with pytest.raises(ConfigurationError, match="MALLKU_KEY_FILE is not set"):
        await SecuredDatabaseInterface.connect(settings=ClientSettings(dev_mode=True))


async def test_a_gateway_that_ends_is_quoted(stand_in: StandIn) -> None:
    """Its exit code and its last words are in the error."""
    stand_in(ENDS)
    with pytest.raises(GatewayUnreachable, match="exit code 1: the port is taken"):
        await DevGateway.start(ClientSettings(dev_mode=True))


async def test_a_gateway_that_is_never_ready_is_stopped(stand_in: StandIn) -> None:
    """The wait is bounded by a setting that the error names."""
    stand_in(SLEEPS)
    settings = ClientSettings(dev_mode=True, dev_start_timeout_s=1.0)
    with pytest.raises(GatewayUnreachable, match=r"MALLKU_DEV_START_TIMEOUT.*still thinking"):
        await DevGateway.start(settings)


async def test_production_refuses_it() -> None:
    """`MALLKU_PRODUCTION` and `MALLKU_DEV_MODE` do not go together."""
    settings = ClientSettings(dev_mode=True, production=True)
    with pytest.raises(ConfigurationError, match="MALLKU_PRODUCTION"):
        await SecuredDatabaseInterface.connect(settings=settings)


def test_an_env_file_is_read_as_a_shell_reads_it() -> None:
    """Quotes, comments and `export` are understood."""
    text = "# mine\n\nexport A='one two'\nB=three # four\nC=\"#\"\nD=\n"
    assert read_env_file(text) == {"A": "one two", "B": "three", "C": "#", "D": ""}


@pytest.mark.parametrize("line", ["A", "=b", "A=b c", "export", "1A=b", "A='b", "export A"])
def test_a_line_that_sets_nothing_is_told(line: str) -> None:
    """The error says which line it is, and holds nothing of it."""
    with pytest.raises(ConfigurationError, match="line 2") as caught:
        read_env_file(f"A=b\n{line}\n")
    assert line not in caught.value.message.replace("NAME=value", "")
