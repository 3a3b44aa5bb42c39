"""What watches a worker, put together: it looks on, and nothing it does changes an answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry

from mallku_broker.connection import GatewayConnection
from mallku_workers.dispatcher import Dispatcher
from mallku_workers.observing.discovery import Description, Responder
from mallku_workers.observing.duty import keep_duty
from mallku_workers.observing.http import HttpServer, Page, Request
from mallku_workers.observing.job_stream import keep_counting_jobs
from mallku_workers.observing.metrics import expose, make_registry
from mallku_workers.observing.observer import Observer
from mallku_workers.observing.parts import Parts
from mallku_workers.observing.refusal_log import RefusalLog, Several
from mallku_workers.observing.tally import CollectionClasses, Tally
from mallku_workers.observing.telemetry import open_spans
from mallku_workers.pipeline import Pipeline
from mallku_workers.replies import Replies
from mallku_workers.settings import WorkerSettings

_JSON: Final = "application/json"
_log = structlog.get_logger("mallku.observing")


class Observing:
    """Everything that looks on; with `observe` off there are the lines about refusals alone.

    Args:
        talks: Whether there are lines about what was done as well.

    Attributes:
        parts: Whoever makes a part of the worker puts it here.
        observer: What the pipeline tells of commands.
    """

    def __init__(
        self, settings: WorkerSettings, instance: str, talks: Callable[[], bool] = bool
    ) -> None:
        self.parts = parts = Parts(instance, settings.clock_skew_ms, store=settings.store)
        self._settings = settings
        self.tally = Tally(CollectionClasses(lambda: _governor(parts).policy))
        self._lines = lines = RefusalLog(talks)
        self.observer: Observer = Several(self.tally, lines) if settings.observe else lines

    async def open(self, stack: AsyncExitStack) -> None:
        """Listen for those who scrape and probe, from the worker's first moment on.

        Raises:
            ConfigurationError: nobody can listen there, or an extra is missing.
        """
        if self._settings.tracing:
            spans = await open_spans(self.parts.instance, self._settings.trace_ratio, stack)
            self.observer = Several(self.observer, spans)
        if not self._settings.observe:
            return
        registry = make_registry(self.parts, self.tally)
        pages = Pages(self.parts, registry)
        server = HttpServer(self._settings.http_host, self._settings.http_port, pages.by_path())
        await server.start()
        stack.push_async_callback(server.close)
        self.parts.http = server.address
        _log.info("http", address=server.address)

    async def keep_watch(self, dispatcher: Dispatcher, records: GatewayConnection) -> None:
        """Look at the loop, and whether the worker is fit to serve, until cancelled."""
        self.parts.under_way = lambda: dispatcher.under_way
        async with asyncio.TaskGroup() as group:
            group.create_task(self.parts.lag.keep_looking())
            group.create_task(keep_duty(self.parts, dispatcher))
            group.create_task(self._lines.keep_telling())
            if self._settings.observe:
                every_s = self._settings.trail_look_s
                group.create_task(keep_counting_jobs(self.parts, records, every_s))

    async def be_found(
        self,
        bus: GatewayConnection,
        pipeline: Pipeline,
        replies: Replies,
        stack: AsyncExitStack,
    ) -> None:
        """Answer those who look for workers, until the stack is taken down."""
        parts = self.parts
        parts.slots, parts.identifier = pipeline.slots, pipeline.identifier
        parts.replies, executor = replies, pipeline.executor
        parts.breakers, parts.at_work = executor.breaker_states, executor.at_work
        if not self._settings.observe:
            return
        description = Description(parts, self.tally)
        responder = Responder(bus, parts, description, lambda: _governor(parts).policy)
        await responder.start()
        stack.push_async_callback(responder.stop)


def _governor(parts: Parts) -> Any:
    return parts.governor


class Pages:
    """What the paths show."""

    def __init__(self, parts: Parts, registry: CollectorRegistry) -> None:
        self._parts, self._registry = parts, registry

    def by_path(self) -> dict[str, Any]:
        """Every path."""
        return {
            "/metrics": self._metrics,
            "/livez": self._live,
            "/readyz": self._ready,
            "/startupz": self._started,
        }

    async def _metrics(self, request: Request) -> Page:
        accept = request.headers.get("accept", "")
        # In a thread, so that commands need not wait for the whole of it.
        body, content_type = await asyncio.to_thread(expose, self._registry, accept)
        return Page(body, content_type=content_type)

    async def _live(self, _request: Request) -> Page:
        """A loop that hangs answers nobody; one that answers lives."""
        return _verdict(fine=True, said={"live": True})

    async def _ready(self, _request: Request) -> Page:
        health = self._parts.health()
        return _verdict(fine=health.ready, said=health.to_json())

    async def _started(self, _request: Request) -> Page:
        health = self._parts.health()
        stage = {"stage": self._parts.stage} if self._parts.stage else {}
        return _verdict(fine=health.started, said={"started": health.started, **stage})


def _verdict(*, fine: bool, said: dict[str, Any]) -> Page:
    status = HTTPStatus.OK if fine else HTTPStatus.SERVICE_UNAVAILABLE
    return Page(json.dumps(said).encode() + b"\n", status, _JSON)
