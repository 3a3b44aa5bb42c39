"""What an index gives in order is not sorted again, and comes out as if it had been."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mallku_contracts import arguments as a
from mallku_contracts.aql.parsing import parse
from mallku_contracts.limits import MIB
from mallku_workers.stores.embedded.aql.evaluate import Circumstances, evaluate
from mallku_workers.stores.embedded.aql.source import SessionSource
from mallku_workers.stores.embedded.collections import create_collection
from mallku_workers.stores.embedded.indexes import create_index
from mallku_workers.stores.embedded.writes import insert_new
from tests.workers.embedded.aql.golden import NOW_MS, World

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from(["", "a", "B", "é", "z"]),
    st.lists(st.integers(0, 2), max_size=2),
)  # fmt: skip
TEXTS = (
    "FOR d IN {c} SORT d.v {way} RETURN d.v",
    "FOR d IN {c} FILTER d.v > @low SORT d.v {way} LIMIT 3 RETURN d.v",
    "FOR d IN {c} FILTER d.v <= @low SORT d.v {way} LIMIT 1, 4 RETURN d.v",
    "FOR d IN {c} FILTER d.v != @low LET w = d.v SORT d.v {way} LIMIT 5 RETURN w",
    "FOR d IN {c} SORT d.v {way} LIMIT 6 SORT d.n DESC RETURN [d.v]",
    "FOR x IN 1..2 FOR d IN {c} SORT d.v {way} RETURN d.v",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A database."""
    world = World(tmp_path_factory.mktemp("order") / "order.sqlite")
    yield world
    world.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(VALUES, max_size=12), low=VALUES, way=st.sampled_from(["ASC", "DESC"]))
def test_with_and_without_an_index(world: World, values: list[Any], low: Any, way: str) -> None:
    """Two collections with the same documents, one with an index, answer alike."""
    with world.transaction() as session:
        for name in ("with_index", "without"):
            create_collection(session, name, a.CreateCollection())
        create_index(session, "with_index", a.CreateIndex(fields=["v"]))
        for number, value in enumerate(values):
            document = {"_key": f"k{number}", "v": value, "n": number}
            for name in ("with_index", "without"):
                insert_new(session, session.catalog.collection(name), dict(document))
        for text in TEXTS:
            found = {}
            for name in ("with_index", "without"):
                query = parse(text.format(c=name, way=way))
                binds = {"low": low} if "@low" in text else {}
                given_ = Circumstances(now_ms=NOW_MS, memory_bytes=MIB)
                rows = list(evaluate(query, binds, SessionSource(session), given_).rows)
                found[name] = sorted(rows, key=repr) if "SORT d.n" in text else rows
            if "SORT d.n" not in text:
                assert found["with_index"] == found["without"], text
            assert len(found["with_index"]) == len(found["without"]), text


def test_the_plan_says_so(world: World) -> None:
    """`explain` tells that nothing has to be sorted; a second SORT is still carried out."""
    with world.transaction() as session:
        create_collection(session, "ordered", a.CreateCollection())
        create_index(session, "ordered", a.CreateIndex(fields=["v"], name="by_v"))
        for number in range(9):
            document = {"v": number, "n": -number}
            insert_new(session, session.catalog.collection("ordered"), document)
        query = parse("FOR d IN ordered SORT d.v LIMIT 4 SORT d.n RETURN d.v")
        circumstances = Circumstances(now_ms=NOW_MS, memory_bytes=MIB)
        execution = evaluate(query, {}, SessionSource(session), circumstances)
        assert list(execution.rows) == [3, 2, 1, 0]
        assert execution.run.explained == [
            {"collection": "ordered", "access": "by_v", "in_order": True}
        ]
