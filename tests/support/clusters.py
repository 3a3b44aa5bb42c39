"""Three nats-servers on loopback as one cluster, in the place of the one server of a gateway.

Servers reach each other over lines that a test can cut (`tests.support.cutting`): a cut server
lives, and so do its clients' connections; it hears nothing of the other two.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from mallku_broker.configuration import ServerConfiguration
from mallku_broker.server import EmbeddedServer
from mallku_broker.streams import StreamSettings
from mallku_contracts.errors import GatewayUnreachable
from mallku_deploy.events import Announce
from mallku_deploy.furnish import Furnished
from mallku_deploy.gateway import LocalGateway
from tests.support.cutting import Line, free_port

SERVERS: Final = 3
ELECTION_S: Final = 30.0
"""From the start of the servers until one of them leads, seconds."""

LOOK_S: Final = 0.1


class Cluster:
    """Looks like one `EmbeddedServer` to a gateway; `name(i)` is what the server calls itself."""

    def __init__(self, configuration: ServerConfiguration, directory: Path) -> None:
        self._base = configuration
        self._directory = directory
        self._routes = [free_port() for _ in range(SERVERS)]
        self.lines: dict[tuple[int, int], Line] = {}
        self.servers: list[EmbeddedServer] = []
        self.held: set[int] = set()
        """Servers that a test has killed and that nobody is to start yet."""

    @staticmethod
    def name(index: int) -> str:
        """The server's name."""
        return f"mallku-{index + 1}"

    @property
    def url(self) -> str:
        """Where clients connect: all three."""
        return ",".join(server.url for server in self.servers)

    @property
    def configuration(self) -> ServerConfiguration:
        """What they run with, but for names, ports and folders."""
        return self._base

    @property
    def pid(self) -> int | None:
        """A process id while every server runs that is to run."""
        wanted = [server for i, server in enumerate(self.servers) if i not in self.held]
        pids = [server.pid for server in wanted]
        return None if not pids or None in pids else pids[0]

    async def start(self) -> None:
        """Start those that do not run, and wait for a leader; the first time, for everybody."""
        is_new = not self.servers
        if is_new:
            await self._lay_lines()
            self.servers = [self._server(index) for index in range(SERVERS)]
        dead = [
            server
            for index, server in enumerate(self.servers)
            if server.pid is None and index not in self.held
        ]
        await asyncio.gather(*(server.start() for server in dead))
        await self.leader()
        if is_new:
            await self._formed()

    async def stop(self, timeout: float = 2.0) -> None:  # noqa: ASYNC109 - as the server's own
        """Stop all servers and take the lines away."""
        for server in self.servers:
            if server.pid is not None:
                os.kill(server.pid, signal.SIGCONT)
        await asyncio.gather(*(server.stop(timeout) for server in self.servers))
        for line in self.lines.values():
            await line.close()

    async def reload(self, configuration: ServerConfiguration | None = None) -> None:
        """Give every running server other users."""
        if configuration is not None:
            self._base = replace(self._base, users=configuration.users)
        for server in self.servers:
            if server.pid is not None:
                await server.reload(replace(server.configuration, users=self._base.users))

    async def leader(self) -> str:
        """The server that leads the cluster's own group.

        Raises:
            GatewayUnreachable: there is none within `ELECTION_S`.
        """
        try:
            async with asyncio.timeout(ELECTION_S):
                while True:
                    for server in self.servers:
                        told = await asyncio.to_thread(_told, server)
                        if leader := told.get("meta_cluster", {}).get("leader"):
                            return str(leader)
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise GatewayUnreachable(f"no leader within {ELECTION_S} s") from None

    async def _formed(self) -> None:
        """Wait until all servers follow one leader, which finds all of them current.

        Raises:
            GatewayUnreachable: they do not within `ELECTION_S`.
        """
        try:
            async with asyncio.timeout(ELECTION_S):
                while not await asyncio.to_thread(self._looks_formed):  # noqa: ASYNC110 - polled
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise GatewayUnreachable(f"the cluster is not complete after {ELECTION_S} s") from None

    def _looks_formed(self) -> bool:
        told = {self.name(index): _told(server) for index, server in enumerate(self.servers)}
        return _is_formed(told)

    async def stream_leader(self, stream: str) -> int | None:
        """The server that leads a stream's group, as the others say; None while there is none."""
        for server in self.servers:
            told = await asyncio.to_thread(_told, server)
            for account in told.get("account_details", ()):
                for detail in account.get("stream_detail", ()):
                    leader = detail.get("cluster", {}).get("leader")
                    if detail["name"] == stream and leader:
                        return int(leader.rpartition("-")[2]) - 1
        return None

    def kill(self, index: int) -> None:
        """Kill -9; `release` lets it be started again."""
        self.held.add(index)
        pid = self.servers[index].pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    async def release(self, index: int) -> None:
        """Start a killed server again."""
        self.held.discard(index)
        await self.start()

    def cut_off(self, index: int) -> None:
        """Let it hear nothing of the others, nor they of it."""
        for pair, line in self.lines.items():
            if index in pair:
                line.cut()

    def mend(self) -> None:
        """All lines carry again."""
        for line in self.lines.values():
            line.mend()

    async def _lay_lines(self) -> None:
        for here in range(SERVERS):
            for there in range(SERVERS):
                if here != there:
                    self.lines[here, there] = await Line.lay(self._routes[there])

    def _server(self, index: int) -> EmbeddedServer:
        folder = self._directory / self.name(index)
        configuration = replace(
            self._base,
            server_name=self.name(index),
            store=folder / "streams",
            port=free_port(),
            monitoring_port=0,
            extra=self._extra(index),
        )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return EmbeddedServer(configuration, folder)

    def _extra(self, index: int) -> Mapping[str, Any]:
        others: Sequence[int] = [other for other in range(SERVERS) if other != index]
        return {
            "cluster": {
                "name": "mallku",
                "listen": f"127.0.0.1:{self._routes[index]}",
                # Servers tell each other where others listen: past the lines nobody does.
                "advertise": f"127.0.0.1:{free_port()}",
                "no_advertise": True,
                "pool_size": -1,
                "routes": [
                    f"nats-route://127.0.0.1:{self.lines[index, other].port}" for other in others
                ],
            }
        }


class ClusteredGateway(LocalGateway):
    """A gateway whose streams are kept by three servers each."""

    cluster: Cluster

    def __init__(
        self, furnished: Furnished, *, announce: Announce, streams: StreamSettings
    ) -> None:
        super().__init__(furnished, port=0, announce=announce, streams=streams)
        self.cluster = Cluster(self.server.configuration, furnished.house.server)
        self.server = self.cluster  # type: ignore[assignment] # what a gateway needs of one

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self.cluster.url


def _told(server: EmbeddedServer) -> dict[str, Any]:
    """What a server says of JetStream; nothing while it does not answer."""
    url = f"http://127.0.0.1:{server.monitoring_port}/jsz?streams=true&accounts=true"
    try:
        with urllib.request.urlopen(url, timeout=1.0) as answer:
            told: dict[str, Any] = json.load(answer)
            return told
    except (OSError, ValueError):
        return {}


def _is_formed(told: Mapping[str, dict[str, Any]]) -> bool:
    """What each server says of JetStream, by its name: one leader, who alone knows the others."""
    groups = {name: each.get("meta_cluster", {}) for name, each in told.items()}
    leaders = {group.get("leader") for group in groups.values()}
    leads = groups.get(leaders.pop() or "", {}) if len(leaders) == 1 else {}
    return [each["current"] for each in leads.get("replicas", ())] == [True] * (SERVERS - 1)
