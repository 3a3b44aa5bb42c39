"""Which way each loop takes, what `explain` says of it, and that it reads no more than that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from mallku_contracts import arguments as a
from mallku_contracts.aql.parsing import parse
from mallku_contracts.limits import MIB
from mallku_workers.stores.embedded.aql.evaluate import Circumstances, Execution, evaluate
from mallku_workers.stores.embedded.aql.source import SessionSource
from mallku_workers.stores.embedded.collections import create_collection
from mallku_workers.stores.embedded.indexes import create_index
from mallku_workers.stores.embedded.session import Session
from mallku_workers.stores.embedded.writes import insert_new
from tests.workers.embedded.aql.golden import NOW_MS, World

DOCUMENTS: Final = 600
INDEXES: Final = (
    a.CreateIndex(name="by_at", fields=["at"]),
    a.CreateIndex(name="by_kind_at", fields=["kind", "at"]),
    a.CreateIndex(name="by_mail", fields=["mail"], unique=True, sparse=True),
    a.CreateIndex(name="by_city", fields=["home.city"]),
)

# The query behind `FOR d IN docs`, the way, in order, documents read, rows.
WAYS: Final = {
    "key": ("FILTER d._key == 'k7' RETURN d", "primary", False, 1, 1),
    "key from the left": ("FILTER 'k7' == d._key RETURN d", "primary", False, 1, 1),
    "id": ("FILTER d._id == 'docs/k7' RETURN d", "primary", False, 1, 1),
    "keys": ("FILTER d._key IN ['k7', 'k8', 'none'] RETURN d", "primary", False, 2, 2),
    "no key": ("FILTER d._key == 7 RETURN d", "primary", False, 0, 0),
    "equality": ("FILTER d.at == 7 RETURN d", "by_at", False, 1, 1),
    "quoted name": ('FILTER d["at"] == 7 RETURN d', "by_at", False, 1, 1),
    "bound value": ("FILTER d.at == @seven RETURN d", "by_at", False, 1, 1),
    "worked out": ("FILTER d.at == 3 + 4 RETURN d", "by_at", False, 1, 1),
    "nested": ("FILTER d.home.city == 'c3' RETURN d", "by_city", False, 60, 60),
    "list": ("FILTER d.at IN [7, 8, 9, 'no'] RETURN d", "by_at", False, 3, 3),
    "range": ("FILTER d.at >= 10 AND d.at < 20 RETURN d", "by_at", False, 11, 10),
    "range from the left": ("FILTER 10 <= d.at FILTER 20 > d.at RETURN d", "by_at", False, 11, 10),
    "open range": ("FILTER d.at > 590 RETURN d", "by_at", False, 10, 9),
    "equality and range": (
        "FILTER d.kind == 'b' AND d.at > 500 RETURN d", "by_kind_at", False, 33, 33,
    ),
    "equality and order": (
        "FILTER d.kind == 'b' SORT d.at DESC LIMIT 5 RETURN d", "by_kind_at", True, 5, 5,
    ),
    "equality, range and order": (
        "FILTER d.at <= 400 FILTER d.kind == 'b' SORT d.at DESC LIMIT 5 RETURN d",
        "by_kind_at", True, 5, 5,
    ),
    "equality and order of another": (
        "FILTER d.home.city == 'c1' SORT d.at LIMIT 5 RETURN d", "by_city", False, 60, 5,
    ),
    "two equalities": ("FILTER d.at == 7 AND d.kind == 'b' RETURN d", "by_kind_at", False, 1, 1),
    "prefix": ("FILTER d.kind == 'b' RETURN d", "by_kind_at", False, 200, 200),
    "behind a let": ("LET x = 1 FILTER d.at == 7 RETURN d", "by_at", False, 1, 1),
    "unique": ("FILTER d.mail == 'm7' RETURN d", "by_mail", False, 1, 1),
    "sparse and null": ("FILTER d.mail == null RETURN d", "full", False, 300, 300),
    "sparse and null in a list": (
        "FILTER d.mail IN ['m7', null] RETURN d", "full", False, 600, 301,
    ),
    "list of a sparse one": ("FILTER d.mail IN ['m7', 'no'] RETURN d", "by_mail", False, 1, 1),
    "range of a sparse one": ("FILTER d.mail > 'm98' RETURN d", "by_mail", False, 1, 1),
    "range with null": ("FILTER d.mail < 'm10' RETURN d", "full", False, 600, 301),
    "order": ("SORT d.at LIMIT 5 RETURN d", "by_at", True, 5, 5),
    "order back": ("SORT d.at DESC LIMIT 5 RETURN d", "by_at", True, 5, 5),
    "order and range": ("FILTER d.at > 100 SORT d.at LIMIT 5 RETURN d", "by_at", True, 6, 5),
    "range of one, order of another": (
        "FILTER d.at > 590 SORT d.text DESC LIMIT 2 RETURN d", "by_at", False, 10, 2,
    ),
    "order of a composite": ("SORT d.kind LIMIT 5 RETURN d", "by_kind_at", True, 5, 5),
    "order by two": ("SORT d.kind, d.at LIMIT 5 RETURN d", "full", False, 600, 5),
    "order of a sparse one": ("SORT d.mail LIMIT 5 RETURN d", "full", False, 600, 5),
    "no index": ("FILTER d.text == 'x7' RETURN d", "full", False, 1, 1),
    "either": ("FILTER d.at == 7 OR d.at == 8 RETURN d", "full", False, 600, 2),
    "not": ("FILTER NOT (d.at == 7) RETURN d", "full", False, 600, 599),
    "unlike": ("FILTER d.at != 7 RETURN d", "full", False, 600, 599),
    "of itself": ("FILTER d.at == d.n RETURN d", "full", False, 600, 600),
    "worked on": ("FILTER d.at + 1 == 8 RETURN d", "full", False, 600, 1),
    "behind a limit": ("LIMIT 10 FILTER d.at == 0 RETURN d", "full", False, 10, 1),
}  # fmt: skip

JOIN_BY_A_SPARSE_INDEX: Final = (
    "FOR d IN docs FILTER d.at < 3 LET m = (FOR e IN docs FILTER e.mail == d.mail RETURN 1)"
    " RETURN m"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A database."""
    world = World(tmp_path_factory.mktemp("explain") / "explain.sqlite")
    yield world
    world.close()


@pytest.fixture
def session(world: World) -> Iterator[Session]:
    """A transaction with some documents and indexes."""
    with world.transaction() as session:
        create_collection(session, "docs", a.CreateCollection())
        for index in INDEXES:
            create_index(session, "docs", index)
        for number in range(DOCUMENTS):
            document: dict[str, Any] = {
                "_key": f"k{number}", "at": number, "n": number, "kind": "abc"[number % 3],
                "home": {"city": f"c{number % 10}"}, "text": f"x{number}",
            }  # fmt: skip
            if number % 2:
                document["mail"] = f"m{number}"
            insert_new(session, session.catalog.collection("docs"), document)
        yield session


def prepared(session: Session, text: str) -> Execution:
    """A query of which nothing ran yet."""
    binds = {"seven": 7} if "@seven" in text else {}
    circumstances = Circumstances(now_ms=NOW_MS, memory_bytes=MIB)
    return evaluate(parse(text), binds, SessionSource(session), circumstances)


@pytest.mark.parametrize("name", WAYS)
def test_a_loop_takes_the_narrowest_way(session: Session, name: str) -> None:
    """`explain` says which before anything is read, and no more is read than it leads to."""
    behind, access, in_order, read, rows = WAYS[name]
    execution = prepared(session, f"FOR d IN docs {behind}")
    assert execution.run.explained == [
        {"collection": "docs", "access": access, "in_order": in_order}
    ]
    assert len(list(execution.rows)) == rows
    statistics = execution.statistics
    assert statistics.scanned_index + statistics.scanned_full == read
    assert (statistics.scanned_full == 0) == (access != "full")


@pytest.mark.parametrize(
    ("text", "ways", "read"),
    [
        ("FOR i IN 1..3 FOR d IN docs FILTER d.at == i RETURN d", ["by_at"], 3),
        ("FOR d IN docs FILTER d.at < 3 FOR e IN docs FILTER e._key == d._key RETURN e",
         ["by_at", "primary"], 7),
        (JOIN_BY_A_SPARSE_INDEX, ["by_at", "by_mail"], 605),
        ("FOR d IN docs FILTER d.at IN [1, 2] FOR e IN docs FILTER e.at IN [d.at, d.n] RETURN e",
         ["by_at", "by_at"], 4),
        ("FOR i IN 1..2 FOR d IN docs FILTER d.at > i + 596 SORT d.at RETURN d", ["by_at"], 5),
    ],
)  # fmt: skip
def test_an_inner_loop_is_asked_by_the_outer_ones(
    session: Session, text: str, ways: list[str], read: int
) -> None:
    """Joins by an index read what they join; a value that no index holds is searched for."""
    execution = prepared(session, text)
    assert [one["access"] for one in execution.run.explained] == ways
    assert list(execution.rows)
    assert execution.statistics.scanned_index + execution.statistics.scanned_full == read


def test_nothing_is_read_to_explain(session: Session) -> None:
    """Preparing a query runs nothing of it, not even what changes documents."""
    execution = prepared(session, "FOR d IN docs FILTER d.at == 7 REMOVE d IN docs")
    assert execution.run.explained == [{"collection": "docs", "access": "by_at", "in_order": False}]
    assert execution.statistics.scanned_index == 0
    assert session.get(session.catalog.collection("docs"), "k7") is not None
