"""How many durable jobs the whole gateway keeps: the stream says so when it is asked."""

from __future__ import annotations

import asyncio

import structlog

from mallku_broker.connection import GatewayConnection
from mallku_broker.jetstream import ask
from mallku_broker.streams import JOBS
from mallku_contracts.errors import MallkuError
from mallku_workers.observing.parts import Parts

_log = structlog.get_logger("mallku.observing")


async def keep_counting_jobs(parts: Parts, records: GatewayConnection, every_s: float) -> None:
    """Ask every so many seconds until cancelled; while nobody answers nothing is known."""
    while True:
        try:
            info = await ask(records, f"STREAM.INFO.{JOBS}", {})
            parts.jobs_stored = int(info["state"]["messages"])
        except (MallkuError, LookupError, ValueError) as error:
            parts.jobs_stored = None
            _log.debug("jobs_not_counted", reason=type(error).__name__)
        await asyncio.sleep(every_s)
