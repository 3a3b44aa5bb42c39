"""What a store was asked is gone with its answer: the collector looks for cycles seldom."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from mallku_contracts.errors import MallkuError
from mallku_workers.stores.base import Work
from tests.stores.calling import Caller, make_work, now_ms

PATIENCE_S = 5.0
"""A thread lets go of a work a moment after its answer."""

Left = Callable[[], Awaitable[int]]


def _works() -> list[Work]:
    return [each for each in gc.get_objects() if isinstance(each, Work)]


@pytest.fixture
def works_left() -> Iterator[Left]:
    """How many works of this test are still there; the collector does not run meanwhile."""
    gc.collect()
    others = {id(each): each for each in _works()}
    gc.disable()

    async def left() -> int:
        end = time.monotonic() + PATIENCE_S
        while found := sum(id(each) not in others for each in _works()):
            if time.monotonic() > end:
                break
            await asyncio.sleep(0.01)
        return found

    yield left
    gc.enable()


PERSON = {"document": {"_key": "ayni", "name": "Ayni"}}


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("insert", {"document": {"_key": "chaka"}}),
        ("insert", PERSON),
        ("replace", {"document": {"_key": "nobody"}}),
        ("update", {"document": {"_key": "ayni", "_rev": "_other"}}),
        ("delete", {"document": "nobody"}),
        ("insert-many", {"documents": [PERSON["document"], {"_key": "chaka"}]}),
        ("get", {"document": "ayni"}),
        ("get", {"document": "ayni", "rev": "_other"}),
        ("find", {"filters": {"name": "Ayni"}}),
        ("count", {}),
        ("drop-index", {"index_id": "people/7"}),
    ],
)
async def test_nothing_is_left_of_a_work(
    people: Caller, works_left: Left, operation: str, arguments: dict[str, Any]
) -> None:
    """Done, or refused by the store."""
    await people("insert", **PERSON)
    await _ask(people, operation, arguments)
    assert await works_left() == 0


@pytest.mark.parametrize(("operation", "arguments"), [("insert", PERSON), ("count", {})])
async def test_nothing_is_left_of_a_work_on_no_collection(
    people: Caller, works_left: Left, operation: str, arguments: dict[str, Any]
) -> None:
    """What nobody has made."""
    await _ask(people.on("nowhere"), operation, arguments)
    assert await works_left() == 0


@pytest.mark.parametrize(("operation", "arguments"), [("insert", PERSON), ("count", {})])
async def test_nothing_is_left_of_a_work_that_comes_late(
    people: Caller, works_left: Left, operation: str, arguments: dict[str, Any]
) -> None:
    """Its time was over before it began."""
    with pytest.raises(MallkuError):
        await people.store.execute(
            make_work(operation, "people", arguments, deadline_ms=now_ms() - 1)
        )
    assert await works_left() == 0


async def _ask(caller: Caller, operation: str, arguments: dict[str, Any]) -> None:
    with contextlib.suppress(MallkuError):
        await caller(operation, **arguments)
