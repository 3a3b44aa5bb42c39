"""Large values: sorts, filters and indexes look at the time, and hold no more than they may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from mallku_contracts.errors import (
    DeadlineExceeded,
    InvalidArguments,
    InvalidIndex,
    ResultTooLarge,
)
from mallku_contracts.limits import MIB
from mallku_contracts.operations import OPERATIONS
from mallku_workers.stores.embedded import EmbeddedSettings, indexes, reads, session, values
from mallku_workers.stores.embedded.catalog import Index
from mallku_workers.stores.embedded.values import MAX_KEY_BYTES, equal_to, joined_key, order_key
from tests.stores.calling import Caller, make_claim, make_work
from tests.workers.embedded.test_embedded_values import VALUES
from tests.workers.embedded.works import Clock, running

LONG = "é" * 2_000
"""Its key is large, and nobody has to wait for it in a test."""

STEP_MS = 20_000
PATIENCE_MS = 60_000


class Slow:
    """Makes keys, each of which takes 20 s of the store's clock."""

    def __init__(self, clock: Clock, make: Any) -> None:
        self.calls = 0
        self._clock = clock
        self._make = make

    def __call__(self, *given: Any) -> Any:
        """The key, after a while."""
        self.calls += 1
        self._clock.now += STEP_MS
        return self._make(*given)


@pytest.fixture
def clock() -> Clock:
    """The store's."""
    return Clock()


@pytest.fixture
async def texts(directory: Path, clock: Clock) -> AsyncIterator[Caller]:
    """Six documents that hold one long text at sixteen places, in each other."""
    nested: Any = LONG
    for _ in range(16):
        nested = {"x": nested}
    async with running(directory, clock=clock) as caller:
        for place in range(6):
            await caller("insert", document={"_key": f"k{place}", "list": [LONG], **nested})
        yield caller


async def ask(caller: Caller, clock: Clock, operation: str, **arguments: Any) -> Any:
    """Carry out an operation whose caller waits for a minute of the store's clock."""
    claim = make_claim() if OPERATIONS[operation].mutates else None
    work = make_work(
        operation, caller.collection, arguments, claim=claim, deadline_ms=clock.now + PATIENCE_MS
    )
    return (await caller.store.execute(work)).result


async def test_a_sort_stops_within_a_document(
    texts: Caller, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after all keys of all documents: between two of them it is time to stop."""
    slow = Slow(clock, order_key)
    monkeypatch.setattr(reads, "order_key", slow)
    fields = [{"sort_by": ".".join(["x"] * depth)} for depth in range(1, 17)]
    with pytest.raises(DeadlineExceeded):
        await ask(texts, clock, "find", sort=fields, limit=1)
    assert slow.calls <= PATIENCE_MS // STEP_MS + 1


@pytest.mark.parametrize("operation", ["find", "count", "update-match"])
async def test_a_search_stops_between_two_documents(
    texts: Caller, clock: Clock, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents of one chunk are held against the filters one by one."""
    slow = Slow(clock, order_key)
    changes = {"body": {"n": 1}} if operation == "update-match" else {}
    monkeypatch.setattr(values, "order_key", slow)
    with pytest.raises(DeadlineExceeded):
        await ask(texts, clock, operation, filters={"list": ["none"]}, **changes)
    assert slow.calls <= PATIENCE_MS // STEP_MS + 2  # one of them is the filter's own


@pytest.mark.parametrize("wanted", [None, True, 1, 1.5, "none", {}])
async def test_a_filter_makes_no_key_of_what_it_can_compare(
    texts: Caller, clock: Clock, wanted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text of two megabytes is no null, and that can be told without reading it."""
    slow = Slow(clock, order_key)
    monkeypatch.setattr(values, "order_key", slow)
    assert await ask(texts, clock, "count", filters={"list": wanted}) == 0
    assert slow.calls <= 1


@settings(max_examples=500, deadline=None)
@given(VALUES, VALUES)
def test_values_are_equal_when_their_keys_are(one: Any, other: Any) -> None:
    """Whichever of them is known before."""
    expected = order_key(one) == order_key(other)
    assert equal_to(one)(other) == equal_to(other)(one) == expected
    assert equal_to(one)(one)


async def test_a_sort_holds_no_more_than_a_query_may(directory: Path) -> None:
    """Thirty texts whose keys have more than a megabyte together."""
    limits = EmbeddedSettings(query_memory_bytes=MIB)
    documents = [{"_key": f"k{n}", "n": n % 2, "text": f"{n:02}" + 5_000 * "é"} for n in range(30)]
    async with running(directory, limits) as people:
        await people("insert-many", documents=documents)
        with pytest.raises(ResultTooLarge, match="values to sort by"):
            await people("find", sort=[{"sort_by": "text"}], limit=1)
        down = [{"sort_by": "text", "sort_order": "DESC"}]
        found = await people("find", filters={"n": 1}, sort=down)
    assert [one["_key"] for one in found["documents"]] == [f"k{n}" for n in range(29, 0, -2)]


async def test_a_sort_names_a_field_once(people: Caller) -> None:
    """The second time it decides nothing, and costs as much."""
    with pytest.raises(InvalidArguments, match="twice"):
        await people("find", sort=[{"sort_by": "x"}, {"sort_by": "x", "sort_order": "DESC"}])


# Indexes


async def test_a_write_stops_between_two_index_keys(
    texts: Caller, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many indexes there are; nothing is stored."""
    for depth in range(1, 17):
        await texts("create-index", fields=[".".join(["x"] * depth)])
    slow = Slow(clock, values.joined_key)
    monkeypatch.setattr("mallku_workers.stores.embedded.catalog.joined_key", slow)
    with pytest.raises(DeadlineExceeded):
        await ask(texts, clock, "update", document={"_key": "k1", "n": 1})
    assert slow.calls <= PATIENCE_MS // STEP_MS + 1
    assert "n" not in await ask(texts, clock, "get", document="k1")


async def test_a_new_index_stops_between_two_documents(
    texts: Caller, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents of one chunk are indexed one by one; there is no index after all."""
    slow = Slow(clock, values.joined_key)
    monkeypatch.setattr("mallku_workers.stores.embedded.catalog.joined_key", slow)
    with pytest.raises(DeadlineExceeded):
        await ask(texts, clock, "create-index", fields=["x"])
    assert slow.calls <= PATIENCE_MS // STEP_MS + 1
    assert len(await ask(texts, clock, "list-indexes")) == 1


@pytest.fixture
def _little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of 64 KiB altogether, instead of megabytes."""
    for module in (session, indexes):
        monkeypatch.setattr(module, "MAX_INDEX_KEYS_BYTES", 64 * 1_024)


@pytest.mark.usefixtures("_little_room")
async def test_keys_of_one_change_are_bounded(people: Caller) -> None:
    """Of one document in several indexes, and of several documents; what was there stays."""
    await people("create-index", fields=["a"])
    await people("create-index", fields=["b"])
    await people("insert", document={"_key": "k", "a": LONG, "b": LONG})
    far = LONG * 3
    for operation, arguments in (
        ("insert", {"document": {"a": far, "b": far}}),
        ("update", {"document": {"_key": "k", "a": far, "b": far}}),
        ("insert-many", {"documents": [{"_key": f"n{n}", "a": LONG} for n in range(10)]}),
    ):
        with pytest.raises(ResultTooLarge, match="keys in indexes"):
            await people(operation, **arguments)
    assert await people.document("k") == {"a": LONG, "b": LONG}
    assert await people("count") == 1
    for _ in range(3):  # each work has the whole of it
        await people("insert", document={"a": far, "c": far})


@pytest.mark.usefixtures("_little_room")
async def test_an_index_that_leaves_no_room_is_not_made(people: Caller) -> None:
    """What could not be written with it any more stays as it is, and can be written."""
    await people("insert", document={"_key": "k", "a": LONG * 3, "b": LONG * 3})
    await people("create-index", fields=["a"])
    with pytest.raises(InvalidIndex, match="people/k"):
        await people("create-index", fields=["b"])
    await people("update", document={"_key": "k", "n": 1})
    assert len(await people("list-indexes")) == 2


def test_a_key_over_values_that_lie_in_each_other_is_bounded() -> None:
    """An index of thirty-two fields would hold the same text thirty-two times."""
    nested: Any = "x" * (MAX_KEY_BYTES // 8)
    for _ in range(32):
        nested = {"x": nested}
    paths = [("x",) * depth for depth in range(1, 33)]
    with pytest.raises(ResultTooLarge, match="index key"):
        joined_key(nested, paths)
    fields = tuple(".".join(path) for path in paths[:4])
    assert Index(7, "i", fields, unique=False, sparse=False).key(nested)
