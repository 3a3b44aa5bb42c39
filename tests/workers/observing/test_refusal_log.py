"""Floods of refusals are summed up, and their end is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from mallku_contracts.errors import PermissionDenied
from mallku_workers.observing import refusal_log
from mallku_workers.observing.refusal_log import MAX_LINES_PER_S, RefusalLog

TOO_MANY = 7


def flood(lines: RefusalLog) -> None:
    """More refusals at once than there are lines for."""
    nobody: Any = SimpleNamespace(
        header=None, subject=None, grant=None, intended=False, message=SimpleNamespace(trace="")
    )
    for _ in range(MAX_LINES_PER_S + TOO_MANY):
        lines.ended(nobody, PermissionDenied("no rule allows it"))


def left_out(logs: list[EventDict]) -> list[int]:
    """The numbers that were told."""
    return [line["lines"] for line in logs if line["event"] == "refusals_left_out"]


@contextlib.asynccontextmanager
async def telling(lines: RefusalLog) -> AsyncGenerator[None]:
    """While it looks every millisecond."""
    task = asyncio.create_task(lines.keep_telling())
    try:
        await asyncio.sleep(0.01)
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusal_log, "TELL_S", 0.001)


async def test_the_end_of_a_flood_is_told() -> None:
    """No refusal follows; when the second is over, the number of those without a line is logged."""
    now = [0.0]
    lines = RefusalLog(bool, clock=lambda: now[-1])
    with capture_logs() as logs:
        async with telling(lines):
            flood(lines)
            await asyncio.sleep(0.01)
            assert left_out(logs) == []
            now.append(1.0)
            async with asyncio.timeout(10):
                while not left_out(logs):  # noqa: ASYNC110 - a log sets no event
                    await asyncio.sleep(0.001)
    assert left_out(logs) == [TOO_MANY]


async def test_a_flood_at_the_end_is_told_at_the_end() -> None:
    """A worker that stops takes no number with it."""
    lines = RefusalLog(bool, clock=lambda: 0.0)
    with capture_logs() as logs:
        async with telling(lines):
            flood(lines)
    assert left_out(logs) == [TOO_MANY]


def test_the_next_refusal_tells_it_too() -> None:
    """Once, whoever comes first."""
    now = [0.0]
    lines = RefusalLog(bool, clock=lambda: now[-1])
    with capture_logs() as logs:
        flood(lines)
        now.append(1.0)
        flood(lines)
    assert left_out(logs) == [TOO_MANY]
