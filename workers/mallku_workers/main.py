"""Runs a worker until it is told to stop; what it is made of, `assembly` says."""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
from contextlib import AsyncExitStack
from typing import Final

import structlog
import uvloop

from mallku_workers import logs
from mallku_workers.assembly import Frame, assemble, in_background
from mallku_workers.collecting import collect_by_the_clock, spare_the_collector
from mallku_workers.heartbeat import Heartbeat
from mallku_workers.observing.composition import Observing
from mallku_workers.settings import WorkerSettings

SWITCH_AFTER_S: Final = 0.001
"""How long a thread keeps the interpreter while another wants it, seconds.

At Python's 5 ms two threads that work on queries made everybody else wait: the event loop gives the
interpreter up many times for each command, and had to win it back each time.
"""

_INSTANCE_BYTES: Final = 8

_log = structlog.get_logger("mallku.worker")


def main(settings: WorkerSettings) -> None:
    """Run one worker in this process until SIGTERM, SIGINT or the end of its parent."""
    spare_the_collector()
    sys.setswitchinterval(SWITCH_AFTER_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_worker(settings))


async def run_worker(settings: WorkerSettings) -> None:
    """Serve commands until told to stop; then leave the queue groups, finish, and return.

    Raises:
        ConfigurationError: naming the file or setting that cannot be used.
        GatewayUnreachable: the broker does not answer.
        Unavailable: the store does not open.
    """
    instance = secrets.token_hex(_INSTANCE_BYTES)
    threshold = logs.configure(settings.log_level, settings.log_format, worker=instance)
    logs.change_on_signals(threshold)
    stopping = asyncio.Event()
    _stop_on_signals(stopping)
    heartbeat = Heartbeat(settings.heartbeat_fd, orphaned=stopping.set)
    # The heart beats until the rest is taken down, or a long drain would look like a hang.
    async with AsyncExitStack() as heart, AsyncExitStack() as stack:
        seen = Observing(settings, instance, lambda: threshold.level == "debug")
        dispatcher = await assemble(Frame(settings, instance, stack, stopping, seen))
        heartbeat.say(f"ready {instance} {seen.parts.http}".rstrip())
        in_background(heart, heartbeat.beat(), stopping)
        in_background(heart, collect_by_the_clock(), stopping)
        _log.info("ready", store=settings.store)
        await stopping.wait()
        seen.parts.draining = True
        heartbeat.say("draining")
        _log.info("draining", under_way=dispatcher.under_way)
    _log.info("stopped")


def _stop_on_signals(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
