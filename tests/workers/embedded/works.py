"""Works sent together, a clock that stands still, and a lock that somebody else holds."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

from mallku_contracts.errors import (
    MallkuError,
)
from mallku_workers.stores.base import Done, Store, Work
from mallku_workers.stores.embedded import EmbeddedSettings, EmbeddedStore
from tests.stores.calling import Caller, make_claim, make_work, now_ms


class Clock:
    """A clock that a test moves; it stands still otherwise."""

    def __init__(self) -> None:
        self.now = now_ms()
        self.step = 0

    def __call__(self) -> int:
        """The time; it moves on by `step`."""
        self.now += self.step
        return self.now


@contextlib.asynccontextmanager
async def running(
    directory: Path, settings: EmbeddedSettings | None = None, **options: Any
) -> AsyncGenerator[Caller]:
    """A store with an empty collection `people`."""
    store = EmbeddedStore(directory, settings=settings, **options)
    await store.start()
    caller = Caller(store)
    try:
        await caller("create-collection")
        yield caller
    finally:
        await store.stop()


@contextlib.contextmanager
def locked(directory: Path) -> Generator[None]:
    """Another process holds the write lock."""
    connection = sqlite3.connect(directory / "mallku.sqlite", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


def insert(key: str, deadline_ms: int | None = None, **document: Any) -> Work:
    """An insert with a claim of its own."""
    arguments = {"document": {"_key": key, **document}}
    return make_work("insert", "people", arguments, claim=make_claim(), deadline_ms=deadline_ms)


async def outcomes(store: Store, works: list[Work]) -> list[str]:
    """What becomes of works that are sent at the same moment: `done` or the error's code."""
    answers = await asyncio.gather(*map(store.execute, works), return_exceptions=True)
    codes: list[str] = []
    for answer in answers:
        assert isinstance(answer, Done | MallkuError)
        codes.append("done" if isinstance(answer, Done) else answer.code)
    return codes
