"""Generated queries over generated documents give what plain Python says they must."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mallku_contracts import arguments as a
from mallku_contracts.aql.binding import check_run
from mallku_contracts.aql.parsing import parse
from mallku_contracts.limits import MIB
from mallku_workers.stores.embedded.aql.evaluate import Circumstances, Execution, evaluate
from mallku_workers.stores.embedded.aql.source import SessionSource
from mallku_workers.stores.embedded.collections import create_collection
from mallku_workers.stores.embedded.indexes import create_index
from mallku_workers.stores.embedded.session import Session
from mallku_workers.stores.embedded.writes import insert_new
from tests.workers.embedded.aql import generated as g
from tests.workers.embedded.aql import oracle as o
from tests.workers.embedded.aql.golden import NOW_MS, World

FEW: Final = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MANY: Final = settings(FEW, max_examples=250)
STORES: Final = st.fixed_dictionaries({name: g.documents() for name in g.COLLECTIONS})
INDEXES: Final = st.fixed_dictionaries({name: g.indexes() for name in g.COLLECTIONS})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A database."""
    world = World(tmp_path_factory.mktemp("oracle") / "oracle.sqlite")
    yield world
    world.close()


@contextmanager
def filled(world: World, documents: o.Data, indexes: g.Indexes) -> Generator[Session]:
    """A transaction in which the documents and indexes are there."""
    with world.transaction() as session:
        for name, some in documents.items():
            create_collection(session, name, a.CreateCollection())
            for spec in indexes.get(name, ()):
                fields = list(spec.fields)
                create_index(
                    session,
                    name,
                    a.CreateIndex(fields=fields, sparse=spec.sparse, unique=spec.unique),
                )
            for document in some:
                insert_new(session, session.catalog.collection(name), dict(document))
        session.flush()
        yield session


def stored(session: Session) -> o.Data:
    """The documents as they are, system attributes included."""
    return {name: run(session, f"FOR d IN {name} RETURN d") for name in g.COLLECTIONS}


def begin(session: Session, text: str, *, full_count: bool = False) -> Execution:
    """A query under way."""
    query = parse(text)
    check_run(query, {})
    given_ = Circumstances(now_ms=NOW_MS, memory_bytes=16 * MIB, full_count=full_count)
    return evaluate(query, {}, SessionSource(session), given_)


def run(session: Session, text: str) -> list[Any]:
    """All rows of a query."""
    return list(begin(session, text).rows)


@MANY
@given(documents=STORES, indexes=INDEXES, query=g.queries())
def test_queries_give_what_the_oracle_says(
    world: World, documents: o.Data, indexes: g.Indexes, query: o.Query
) -> None:
    """Loops, filters, sorts, groups, subqueries and expansions, with and without indexes."""
    with filled(world, documents, indexes) as session:
        ours = run(session, query.text)
        wanted = query.values({}, stored(session))
        assert o.same_rows(o.plain(ours), o.plain(wanted), ordered=query.ordered), (ours, wanted)


@FEW
@given(documents=STORES, data=st.data())
def test_expressions_keep_nulls_and_missing_apart(
    world: World, documents: o.Data, data: st.DataObject
) -> None:
    """Where nothing is grouped, values come out as they are, to the last null."""
    names = g.Names(["d"], [], o.Ids())
    part = data.draw(g.expressions(names, 3))
    query = o.Query([o.for_documents("d", "c0"), g.total(names, [])], part)
    with filled(world, documents, {}) as session:
        assert o.same(run(session, query.text), query.values({}, stored(session)))


@FEW
@given(documents=STORES, indexes=INDEXES, query=g.queries())
def test_an_index_changes_no_answer(
    world: World, documents: o.Data, indexes: g.Indexes, query: o.Query
) -> None:
    """The same query with and without indexes."""
    answers = []
    for there in (indexes, {}):
        with filled(world, documents, there) as session:
            answers.append(o.plain(run(session, query.text)))
    assert o.same_rows(*answers, ordered=query.ordered)


@FEW
@given(documents=STORES, indexes=INDEXES, data=st.data())
def test_a_filter_and_its_opposite_part_the_documents(
    world: World, documents: o.Data, indexes: g.Indexes, data: st.DataObject
) -> None:
    """Every document passes exactly one of them."""
    condition = data.draw(g.conditions(g.Names(["d"], [], o.Ids()))).text
    with filled(world, documents, indexes) as session:
        kept = run(session, f"FOR d IN c0 FILTER {condition} RETURN d._key")
        others = run(session, f"FOR d IN c0 FILTER NOT ({condition}) RETURN d._key")
        assert sorted(kept + others) == sorted(one["_key"] for one in documents["c0"])


@FEW
@given(documents=STORES, indexes=INDEXES, data=st.data())
def test_a_limit_is_a_piece_of_the_whole(
    world: World, documents: o.Data, indexes: g.Indexes, data: st.DataObject
) -> None:
    """With whatever order and offset; `full_count` is the number of all."""
    names = g.Names(["d"], [], o.Ids())
    condition = data.draw(g.conditions(names)).text
    key, way = data.draw(g.fields(names)).text, data.draw(st.sampled_from(["ASC", "DESC"]))
    offset, count = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 4))
    text = f"FOR d IN c0 FILTER {condition} SORT {key} {way}, d._key"
    with filled(world, documents, indexes) as session:
        whole = run(session, f"{text} RETURN d")
        limited = begin(session, f"{text} LIMIT {offset}, {count} RETURN d", full_count=True)
        assert list(limited.rows) == whole[offset : offset + count]
        assert limited.statistics.full_count == len(whole)


@MANY
@given(documents=STORES, indexes=INDEXES, data=st.data())
def test_a_sort_by_one_attribute_is_in_order(
    world: World, documents: o.Data, indexes: g.Indexes, data: st.DataObject
) -> None:
    """Whether an index gives the order or it has to be made; behind equal values and ranges too."""
    paths = data.draw(st.lists(st.sampled_from(g.INDEXED), max_size=2))
    chosen = [data.draw(g.comparisons_of(path)) for path in paths]
    key = g.of_document(data.draw(st.sampled_from(g.INDEXED)))
    descends = data.draw(st.booleans())
    count = data.draw(st.integers(0, 9))
    statements = [*map(o.filtered, chosen), o.sort([(key, descends)]), o.limit(0, count)]
    query = o.Query([o.for_documents("d", "c0"), *statements], key)
    with filled(world, documents, indexes) as session:
        wanted = query.values({}, stored(session))
        assert o.same(o.plain(run(session, query.text)), o.plain(wanted))


@MANY
@given(documents=g.documents(), data=st.data())
def test_an_index_leads_to_all_that_its_filters_let_through(
    world: World, documents: list[dict[str, Any]], data: st.DataObject
) -> None:
    """One index and comparisons of its own attributes, null and missing ones among them."""
    spec = data.draw(st.builds(g.IndexSpec, st.sampled_from(g.INDEXES), sparse=st.booleans()))
    paths = spec.fields[: data.draw(st.integers(1, 3))]
    filters = [o.filtered(data.draw(g.comparisons_of(path))) for path in paths]
    query = o.Query([o.for_documents("d", "c0"), *filters], o.member(o.variable("d"), "_key"))
    with filled(world, {"c0": documents, "c1": []}, {"c0": [spec]}) as session:
        wanted = query.values({}, stored(session))
        assert sorted(run(session, query.text)) == sorted(wanted)


@FEW
@given(documents=STORES, data=st.data())
def test_collecting_counts_every_row_once(
    world: World, documents: o.Data, data: st.DataObject
) -> None:
    """The groups' sizes add up, their members are the rows, and COUNT agrees with both."""
    key = data.draw(g.expressions(g.Names(["d"], [], o.Ids()), 2)).text
    with filled(world, documents, {}) as session:
        groups = run(
            session,
            f"FOR d IN c0 COLLECT k = {key} INTO g RETURN {{k, n: LENGTH(g), keys: g[*].d._key}}",
        )
        count = f"COLLECT k = {key} WITH COUNT INTO n OPTIONS {{method: 'sorted'}}"
        counted = run(session, f"FOR d IN c0 {count} RETURN n")
        assert [group["n"] for group in groups] == counted
        keys = [one for group in groups for one in group["keys"]]
        assert sorted(keys) == sorted(one["_key"] for one in documents["c0"])


def test_the_least_value_passes_over_nulls_unless_the_first_is_one(world: World) -> None:
    """As the recorded server has it; the greatest needs no such rule."""
    with world.transaction() as session:
        text = "FOR x IN {} COLLECT AGGREGATE lo = MIN(x), hi = MAX(x) RETURN [lo, hi]"
        assert run(session, text.format("[4, null, 2]")) == [[2, 4]]
        assert run(session, text.format("[null, 4, 2]")) == [[None, 4]]
        assert run(session, text.format("[null]")) == [[None, None]]


@pytest.mark.parametrize(("offset", "count"), [(0, 5), (30, 5), (1_990, 20), (4_990, 50)])
def test_a_sort_lets_go_of_nothing_that_a_limit_lets_through(
    world: World, offset: int, count: int
) -> None:
    """Of many rows, those that cannot come out are let go of on the way."""
    wanted = sorted(range(5_000), key=lambda number: (-(number % 7), number * 7_919 % 5_003))
    with world.transaction() as session:
        text = f"FOR i IN 0..4999 SORT i % 7 DESC, i * 7919 % 5003 LIMIT {offset}, {count} RETURN i"
        assert run(session, text) == wanted[offset:][:count]
