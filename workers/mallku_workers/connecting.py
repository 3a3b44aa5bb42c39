"""A worker's connections to the broker: opened by the settings, watched, parted from in order."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import structlog

from mallku_broker.connection import ConnectionSettings, GatewayConnection, Watcher, connect
from mallku_broker.events import ConnectionEvent, EventKind
from mallku_broker.permissions import WORKER_INBOX_PREFIX
from mallku_workers.settings import WorkerSettings

PARTING_S: Final = 2.0
"""How long the broker may take to say that it has everything, at the end, seconds."""

_log = structlog.get_logger("mallku.worker")


async def connect_worker(
    settings: WorkerSettings, credentials: Path, instance: str, stack: AsyncExitStack
) -> GatewayConnection:
    """Connect with these credentials; what was sent is flushed before the stack closes it.

    Raises:
        ConfigurationError: naming the file or setting that cannot be used.
        GatewayUnreachable: the broker does not answer.
    """
    connection = await connect(
        ConnectionSettings(
            url=settings.url,
            credentials=credentials,
            tls_ca=settings.tls_ca,
            tls_cert=settings.tls_cert,
            tls_key=settings.tls_key,
        ),
        name=f"mallku-worker-{instance}",
        inbox_prefix=f"{WORKER_INBOX_PREFIX}.{instance}",
        on_event=_log_events(),
    )
    stack.push_async_callback(connection.close)
    stack.push_async_callback(_part, connection)
    return connection


async def _part(connection: GatewayConnection) -> None:
    """Wait until the broker has all that was sent, if it is there."""
    if not connection.is_up:
        return
    try:
        async with asyncio.timeout(PARTING_S):
            await connection.flush()
    except Exception as error:  # noqa: BLE001 - whatever it says, the rest is taken down in order
        _log.warning("broker_silent", connection=connection.name, reason=repr(error))


def _log_events() -> Watcher:
    """Warn once when a connection is lost, however many tries follow; the rest is information."""
    down = False

    def log(event: ConnectionEvent) -> None:
        nonlocal down
        lost = event.kind is EventKind.DISCONNECTED
        news = (lost and not down) or event.kind is EventKind.REFUSED
        write = _log.warning if news else _log.info
        write(event.kind.value, connection=event.connection, detail=event.detail)
        down = lost or (down and event.kind is not EventKind.RECONNECTED)

    return log
