"""The first record of a stream that an administrator began: any worker writes it, one of them does.

The stream takes nothing else before, and the administrator opens it when the record stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from mallku_broker.connection import GatewayConnection
from mallku_broker.ranges import StreamState
from mallku_broker.rotation import read_kept_order
from mallku_broker.single import message_at
from mallku_broker.streams import AUDIT_STREAMS
from mallku_contracts.audit import record_hash
from mallku_contracts.errors import MallkuError
from mallku_contracts.trail.checkpoint import Head
from mallku_contracts.trail.rotation import OrderError, rotate_facts
from mallku_contracts.trust import Keys
from mallku_workers.audit.writer import AuditWriter

_log = structlog.get_logger("mallku.trail")


class Rotating:
    """Writes the first record of a stream, when there is a signed order for it.

    Args:
        administrators: Whose orders count now; raises `ConfigurationError` when nobody can say.
        heads: The newest checkpoints that were seen, by instance.
    """

    def __init__(
        self,
        connection: GatewayConnection,
        audit: AuditWriter,
        administrators: Callable[[], Keys],
        heads: Callable[[], Mapping[str, Head]],
    ) -> None:
        self._connection = connection
        self._audit = audit
        self._administrators = administrators
        self._heads = heads
        self._writing: asyncio.Task[None] | None = None

    def begun(self, states: list[StreamState]) -> None:
        """The newest of these streams waits for its first record."""
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write(states))

    async def close(self) -> None:
        """Write no more."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    async def _write(self, states: list[StreamState]) -> None:
        former, newest = states[-2:]
        try:
            order = await read_kept_order(self._connection, self._administrators())
            entry = await message_at(self._connection, former.name, former.last)
        except (MallkuError, OrderError) as error:
            _log.warning("no_order_to_rotate", stream=newest.name, reason=str(error))
            return
        ordered = order is not None and order.stream == newest.name
        if order is None or not ordered or AUDIT_STREAMS[order.generation - 1] != newest.name:
            _log.warning("no_order_to_rotate", stream=newest.name, reason="nobody ordered it")
            return
        if entry is None or not former.sealed or newest.last != former.last:
            _log.error("not_the_next_stream", stream=newest.name, after=former.last)
            return
        facts = rotate_facts(
            order, former.name, former.last, record_hash(entry.data), self._heads()
        )
        if await self._audit.rotated(facts) is not None:
            _log.warning("trail_rotated", stream=newest.name, after=former.last)
