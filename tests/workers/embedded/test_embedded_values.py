"""Order keys: bytes that compare exactly as ArangoDB compares the values."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from functools import cmp_to_key
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mallku_contracts.errors import ResourceLimit
from mallku_workers.stores.embedded import EmbeddedStore
from mallku_workers.stores.embedded.collation import compare_text
from mallku_workers.stores.embedded.revisions import FIRST_TICK, revision
from mallku_workers.stores.embedded.values import AFTER_PREFIX, LARGE_BYTES, inverted, order_key
from tests.stores.calling import Caller

NAMES = ["a", "b", "ab", "", "a\x00", "é", 'q"']
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.0, -0.0, 1.0, 2.0**53, 2.0**63, 1e15, 1e16, 0.1])
    | st.sampled_from(["", "a", "ab", "a\x00", "\x00", "1", "true", "null", "[1]", '"', "\\"])
    | st.text(max_size=4)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=6,
)


def compare(one: Any, other: Any) -> int:
    """ArangoDB's order as its manual tells it, without any encoding: -1, 0 or 1."""
    ranks = rank(one), rank(other)
    if ranks[0] != ranks[1]:
        return -1 if ranks[0] < ranks[1] else 1
    if isinstance(one, list):
        return compare_each(zip_longest(one, other))
    if isinstance(one, dict):
        names = sorted({*one, *other}, key=cmp_to_key(compare_text))
        return compare_each((one.get(name), other.get(name)) for name in names)
    if one is None or isinstance(one, bool):
        return 0
    if isinstance(one, str):
        return compare_text(one, other)
    return int(one > other) - int(one < other)


def compare_each(pairs: Iterable[tuple[Any, Any]]) -> int:
    """The first difference among pairs."""
    return next((result for one, other in pairs if (result := compare(one, other))), 0)


def rank(value: Any) -> int:
    """The place of a value's type."""
    if value is None or isinstance(value, bool):
        return [None, False, True].index(value)
    kinds = [(int, float), str, list, dict]
    return 3 + next(place for place, kind in enumerate(kinds) if isinstance(value, kind))  # type: ignore[arg-type]


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES, VALUES)
def test_keys_compare_as_the_values_do(one: Any, other: Any) -> None:
    """Less, equal and greater, upwards and inverted."""
    keys = order_key(one), order_key(other)
    expected = compare(one, other)
    assert (keys[0] > keys[1]) - (keys[0] < keys[1]) == expected
    down = inverted(keys[0]), inverted(keys[1])
    assert (down[0] < down[1]) - (down[0] > down[1]) == expected


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES, VALUES, VALUES)
def test_joined_keys_compare_field_by_field(one: Any, other: Any, next_one: Any) -> None:
    """No key is a prefix of another, and what continues a key lies below its upper bound."""
    first, second = order_key(one), order_key(other)
    if compare(one, other):
        assert not first.startswith(second)
    assert first < first + order_key(next_one) < first + AFTER_PREFIX


def test_revisions_are_spelled_as_arangodb_spells_them() -> None:
    """`_` and ten digits of 64; different ticks never look alike."""
    # A revision of a real server: milliseconds since 1970, shifted by 20 bits.
    assert revision((1_795_450_261_725 << 20) - 2**60) == "_meiqyLy---"
    assert [revision(tick) for tick in (0, 63, 64, 2**60 - 1)] == [
        "_----------",
        "_---------9",
        "_--------_-",
        "_9999999999",
    ]
    assert len({revision(tick) for tick in range(FIRST_TICK, FIRST_TICK + 5_000)}) == 5_000


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """An event loop that all examples share."""
    with asyncio.Runner() as running:
        yield running


@pytest.fixture(scope="module")
def people(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A store that all examples share."""
    store = EmbeddedStore(Path(tmp_path_factory.mktemp("shared")) / "store")
    runner.run(store.start())
    yield Caller(store)
    runner.run(store.stop())


DOCUMENTS = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", 'q"']), VALUES, max_size=3), max_size=8
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(DOCUMENTS, st.data())
def test_find_equals_plain_evaluation(
    runner: asyncio.Runner, people: Caller, documents: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Whatever indexes there are, find and count see the documents that a plain loop sees."""
    pool = [value for doc in documents for value in doc.values()] or [None]
    wanted = st.sampled_from(pool) | VALUES
    filters = data.draw(
        st.dictionaries(st.sampled_from(["a", "b", 'q"', "a.b"]), wanted, min_size=1, max_size=2)
    )
    fields = data.draw(st.lists(st.sampled_from(["a", "b", 'q"', "a.b"]), unique=True, max_size=2))
    sparse = data.draw(st.booleans())
    early = data.draw(st.booleans())
    sort = data.draw(st.sampled_from(["a", "b", "a.b"]))

    async def ask() -> tuple[list[str], int, list[str]]:
        await people("drop-collection", ignore_missing=True)
        await people("create-collection")
        keyed = [{**doc, "_key": str(place)} for place, doc in enumerate(documents)]
        if fields and early:
            await people("create-index", fields=fields, sparse=sparse)
        await people("insert-many", documents=keyed)
        if fields and not early:
            await people("create-index", fields=fields, sparse=sparse)
        found = await people("find", filters=filters)
        ordered = await people("find", sort=[{"sort_by": sort, "sort_order": "DESC"}])
        return (
            [doc["_key"] for doc in found["documents"]],
            await people("count", filters=filters),
            [doc["_key"] for doc in ordered["documents"]],
        )

    found, counted, ordered = runner.run(ask())
    expected = [
        str(place)
        for place, doc in enumerate(documents)
        if all(not compare(reach(doc, path), value) for path, value in filters.items())
    ]
    assert (found, counted) == (expected, len(expected))

    def downwards(one: int, other: int) -> int:
        return compare(reach(documents[other], sort), reach(documents[one], sort))

    places = sorted(range(len(documents)), key=cmp_to_key(downwards))
    assert ordered == [str(place) for place in places]


def reach(document: Any, path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document


def test_a_value_that_is_there_many_times_has_the_key_of_its_copies() -> None:
    """Large lists and objects are copied where they come again, and nothing else is different."""
    large = [list(range(LARGE_BYTES)), {"n": [str(n) for n in range(LARGE_BYTES)]}, [None]]
    shared = [large, large[0], {"a": large, "b": large[1]}, large[1], 1, large]
    assert order_key(shared) == order_key(json.loads(json.dumps(shared)))
    assert order_key([*shared, large[0]]) != order_key([*shared, large[1]])


def test_doubling_lists_are_refused_at_once() -> None:
    """Forty lists that each hold the one before twice: a trillion items, and only copying."""
    value: list[Any] = [1, 2]
    for _ in range(40):
        value = [value, value]
    began = time.process_time()
    with pytest.raises(ResourceLimit):
        order_key(value)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    "nulls",
    [[None] * 500_000, dict.fromkeys(map(str, range(50_000))), {100_000 * "é": None}],
    ids=["list", "object", "name"],
)
def test_nulls_that_are_there_many_times_cost_little(nulls: Any) -> None:
    """They leave nothing in a key that could be bounded; each is passed over once."""
    value = [[nulls] * 100] * 100
    began = time.process_time()
    assert order_key(value) == order_key([[type(nulls)()] * 100] * 100)
    assert time.process_time() - began < 2
