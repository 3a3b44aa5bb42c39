"""What watches a worker, switched on and off, and what its paths say from the first moment on."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from mallku_workers.observing.composition import Observing, Pages
from mallku_workers.observing.http import Request
from mallku_workers.observing.metrics import make_registry
from mallku_workers.observing.refusal_log import RefusalLog
from mallku_workers.settings import WorkerSettings

GET = Request("GET", "", {})


def settings(**changes: Any) -> WorkerSettings:
    """Settings of a worker; files that nobody reads here."""
    nothing = Path("/nonexistent")
    return WorkerSettings(
        url="nats://127.0.0.1:1",
        bus_credentials=nothing,
        records_credentials=nothing,
        key_file=nothing,
        token_file=nothing,
        trust_file=nothing,
        **changes,
    )


async def test_started_is_not_ready_is_not_alive() -> None:
    """While it begins a worker lives, has not started and is not ready; then all three differ."""
    seen = Observing(settings(), "w1")
    seen.parts.stage = "opening the store"
    pages = Pages(seen.parts, make_registry(seen.parts, seen.tally)).by_path()
    assert (await pages["/livez"](GET)).status == 200
    starting = await pages["/startupz"](GET)
    assert (starting.status, json.loads(starting.body)["stage"]) == (503, "opening the store")
    assert (await pages["/readyz"](GET)).status == 503
    seen.parts.stage = ""
    assert (await pages["/startupz"](GET)).status == 200
    said = await pages["/readyz"](GET)
    assert said.status == 503
    assert json.loads(said.body)["reasons"] == ["policy: no policy is in force"]
    page = await pages["/metrics"](Request("GET", "/metrics", {"accept": "*/*"}))
    assert b"mallku_ready 0.0" in page.body


async def test_switched_off_there_is_nothing_to_see() -> None:
    """No port, no counting; refusals still have their lines."""
    seen = Observing(settings(observe=False), "w1")
    async with AsyncExitStack() as stack:
        await seen.open(stack)
        assert seen.parts.http == ""
    assert isinstance(seen.observer, RefusalLog)


async def test_switched_on_it_listens_where_it_was_told() -> None:
    """A free port of loopback by default; it is told where metrics are looked for."""
    seen = Observing(settings(), "w1")
    async with AsyncExitStack() as stack:
        await seen.open(stack)
        assert seen.parts.http.startswith("127.0.0.1:")
        assert int(seen.parts.http.rpartition(":")[2]) > 0
