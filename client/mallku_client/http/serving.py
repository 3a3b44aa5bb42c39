"""Runs a door: binds its port, serves until it is told to stop, then finishes what is under way."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import uvicorn

from mallku_client.http.app import build_app
from mallku_client.http.connections import bounded
from mallku_client.http.door import Door, open_door
from mallku_client.http.guard import Guard
from mallku_client.http.settings import MAX_HEADER_BYTES, DoorSettings
from mallku_client.settings import ClientSettings
from mallku_contracts.errors import ConfigurationError

KEEP_ALIVE_S: Final = 15
"""How long a connection is kept on which no request's head has come completely, seconds."""

CONNECTIONS_FOR_EACH: Final = 2
"""Connections for each request that may be under way; more are closed at once."""

BACKLOG: Final = 512
"""Connections that wait to be taken."""

START_LOOK_S: Final = 0.01
"""Between two looks whether the server has begun, seconds."""


@asynccontextmanager
async def serving(client: ClientSettings, settings: DoorSettings) -> AsyncGenerator[str]:
    """A door that serves; gives its URL, and closes in order at the end.

    Raises:
        ConfigurationError: the port cannot be had, or as `open_door`.
        GatewayUnreachable: the broker does not answer.
    """
    with _bound(settings) as listener:
        url = f"http://{_host(settings.host)}:{listener.getsockname()[1]}"
        door = await open_door(client, settings, settings.origin or url)
        try:
            async with _uvicorn(door, listener, settings):
                yield url
        finally:
            await door.close()


async def serve(
    client: ClientSettings,
    settings: DoorSettings,
    stopping: asyncio.Event,
    ready: Callable[[str], None],
) -> None:
    """Serve until `stopping` is set; `ready` is told the URL once requests are taken."""
    async with serving(client, settings) as url:
        ready(url)
        await stopping.wait()


@asynccontextmanager
async def _uvicorn(
    door: Door, listener: socket.socket, settings: DoorSettings
) -> AsyncGenerator[None]:
    config = uvicorn.Config(
        Guard(build_app(door), settings),
        http=bounded(CONNECTIONS_FOR_EACH * settings.max_requests, KEEP_ALIVE_S),
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(int(settings.drain_s), 1),
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started and not running.done():  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(START_LOOK_S)
        yield
    finally:
        server.should_exit = True
        await running


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield


def _bound(settings: DoorSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # By this protocol the event loop knows a socket on which small answers must not wait.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"MALLKU_HTTP_HOST={settings.host} MALLKU_HTTP_PORT={settings.port}:"
            f" {error.strerror or error}"
        ) from None
    return listener


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
