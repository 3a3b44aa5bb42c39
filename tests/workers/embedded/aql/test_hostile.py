"""Queries that mean harm end soon, in bounded memory, with a coded error; others go on."""

from __future__ import annotations

import asyncio
import resource
import shutil
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from mallku_contracts.aql.analysis import analyse
from mallku_contracts.aql.binding import check_run
from mallku_contracts.aql.parsing import parse
from mallku_contracts.arguments import Aql
from mallku_contracts.errors import (
    DeadlineExceeded,
    InvalidDocument,
    InvalidQuery,
    MallkuError,
    QueryFailed,
    ResourceLimit,
    ResultTooLarge,
)
from mallku_contracts.limits import MIB
from mallku_contracts.operations import OPERATIONS
from mallku_workers.stores.base import Done, RunnableQuery, Work
from mallku_workers.stores.embedded import EmbeddedSettings, EmbeddedStore
from tests.stores.calling import DATABASE, Caller, make_claim, now_ms

DEADLINE_MS: Final = 200
PATIENCE_MS: Final = 60_000
FEW_LEVELS: Final = 10
OVERSHOOT_S: Final = 12
"""What one value that is as large as can be may take beyond the deadline on a loaded machine."""
MEMORY_MIB: Final = 8
GROWTH_MIB: Final = 400
"""What the process may grow by in one hostile query: a multiple of `MEMORY_MIB`, an estimate."""
BOUNDED: Final = (ResourceLimit, DeadlineExceeded, ResultTooLarge)


def shared(levels: int) -> str:
    """Lists that double with each level, `a40` the last one of 40."""
    more = (f"LET a{n} = [a{n - 1}, a{n - 1}]" for n in range(1, levels + 1))
    return "LET a0 = [1, 2] " + " ".join(more)


SHARED: Final = shared(40)
NAMED: Final = 'LET o0 = {a: 1, b: "x"} ' + " ".join(
    f"LET o{n} = {{a: o{n - 1}, b: o{n - 1}}}" for n in range(1, 41)
)
BIG: Final = "LET big = (FOR i IN 1..200000 RETURN i)"

READING: Final = {
    # loops
    "cross join of ranges": "FOR a IN 1..100000 FOR b IN 1..100000 FILTER a + b < 0 RETURN 1",
    "range without end": "FOR a IN 1..9007199254740991 FILTER a < 0 RETURN a",
    "range beyond doubles": "FOR a IN 1..1e300 RETURN a",
    "counting it": "FOR a IN 1..100000 FOR b IN 1..100000 COLLECT WITH COUNT INTO n RETURN n",
    "join of documents": "FOR a IN d FOR b IN d FOR c IN d FOR e IN d FILTER a.x == 9 RETURN 1",
    "documents as values": "FOR a IN 1..1000 FOR b IN d LET some = (FOR c IN d RETURN c)"
    " FILTER LENGTH(some) == 1 RETURN 1",
    "distinct": "FOR a IN 1..100000000 RETURN DISTINCT a",
    "subqueries in subqueries": "RETURN (FOR a IN 1..999 RETURN (FOR b IN 1..999 RETURN "
    "(FOR c IN 1..999 RETURN (FOR e IN 1..999 RETURN e))))",
    "late limit": "FOR a IN 1..1000000000 SORT a DESC LIMIT 1000000000, 1 RETURN a",
    # lists and texts
    "list of a range": "RETURN LENGTH(1..100000000)",
    "lists of ranges": "FOR i IN 1..9 RETURN [" + ", ".join(["i..900000"] * 300) + "]",
    "kept ranges": " ".join(f"LET r{n} = (1 + RAND())..900000" for n in range(200))
    + " RETURN LENGTH(r1)",
    "repeat": 'RETURN REPEAT("x", 1000000000)',
    "repeats": 'RETURN (FOR i IN 1..100000 RETURN REPEAT("x", 4000000 - i))',
    "repeats in brackets": 'RETURN LENGTH((1..100000)[* RETURN REPEAT("x", 4000000 - CURRENT)])',
    "doubled texts": 'LET t0 = "xxxxxxxx" '
    + " ".join(f"LET t{n} = CONCAT(t{n - 1}, t{n - 1})" for n in range(1, 41))
    + " RETURN LENGTH(t40)",
    "brackets in brackets": "RETURN LENGTH((1..3000)[* RETURN (1..3000)[* RETURN (1..3000)"
    "[* RETURN CURRENT + 1]]])",
    "filter in brackets": f"{BIG} RETURN big[* FILTER LENGTH(big[* FILTER CURRENT < 0]) > 0]",
    "matches in brackets": f"{BIG} RETURN big[? ALL FILTER big[? NONE FILTER CURRENT < 0]]",
    "wide rows in brackets": "RETURN LENGTH((1..999999)[* RETURN [" + "CURRENT, " * 300 + "1]])",
    "every with every": f"{BIG} FOR i IN 1..100000 FILTER big ALL > -i AND -1 IN big RETURN i",
    "a slow function": f"{BIG} FOR i IN 1..100000000 FILTER SUM(big) < i - 1 RETURN 1",
    "many slow functions": f"{BIG} RETURN [" + ", ".join(["SORTED(big)"] * 500) + "]",
    "many sums": f"{BIG} RETURN [" + ", ".join(["SUM(big)"] * 790) + "]",
    "long sums in brackets": "RETURN LENGTH((1..400000)[* RETURN "
    + " + ".join(["CURRENT"] * 140)
    + "])",
    "sorted large values": 'LET a = (1..500)[* RETURN REPEAT("x", 1000)] '
    "RETURN LENGTH(SORTED((1..2000)[* RETURN [CURRENT, a]]))",
    "unique large values": 'LET a = (1..500)[* RETURN REPEAT("x", 1000)] '
    "RETURN LENGTH(UNIQUE((1..2000)[* RETURN [CURRENT, a]]))",
    # patterns
    "pattern": 'RETURN REGEX_TEST(REPEAT("a", 3000000), "(a|a|aa)+(a|a|aa)+(a|a|aa)+b")',
    "patterns": 'FOR i IN 1..10000000 FILTER REGEX_TEST(CONCAT(REPEAT("a", 100000), i),'
    ' "(a+)+b") RETURN i',
    "distance": 'RETURN LEVENSHTEIN_DISTANCE(REPEAT("ab", 500000), REPEAT("ba", 500000))',
    # shared values
    "shared": f"{SHARED} RETURN a40",
    "shared sort": f"{SHARED} FOR i IN 1..3 SORT a40 RETURN i",
    "shared sort of rows": f"{SHARED} FOR i IN 1..3 SORT i RETURN a40",
    "shared groups": f"{SHARED} FOR i IN 1..3 COLLECT k = a40 RETURN 1",
    "shared members": f"FOR i IN 1..3 {SHARED} COLLECT k = i INTO g RETURN g",
    "shared comparison": f"{SHARED} RETURN a40 == a39",
    "shared order": f"{SHARED} FOR i IN 1..10 FILTER a40 > [i] RETURN a40 < a39",
    "shared membership": f"{SHARED} RETURN a40 IN [a39, a38]",
    "shared json": f"{SHARED} RETURN JSON_STRINGIFY(a40)",
    "shared text": f"{SHARED} RETURN CONCAT(a40, a40)",
    "shared union": f"{SHARED} RETURN UNION_DISTINCT(a40, a40)",
    "shared flatten": f"{SHARED} RETURN FLATTEN(a40, 40)",
    "shared hash": f"{SHARED} RETURN HASH(a40)",
    "shared distinct": f"{SHARED} FOR i IN 1..3 RETURN DISTINCT a40",
    "shared least": f"{SHARED} FOR i IN 1..3 COLLECT AGGREGATE m = MIN([i, a40]) RETURN m",
    "shared window": f"{SHARED} FOR i IN 1..3 WINDOW {{preceding: 1}} AGGREGATE u = UNIQUE(a40)"
    " RETURN u",
    "shared subquery": f"{SHARED} LET q = (FOR i IN 1..3 RETURN a40) RETURN LENGTH(q)",
    "shared filter": f"{SHARED} FOR x IN d FILTER x.n == a40 RETURN x",
    "shared merge": f"{NAMED} RETURN MERGE_RECURSIVE(o40, o40)",
    "shared unset": f'{NAMED} RETURN UNSET_RECURSIVE(o40, "z")',
    "shared object": f"{NAMED} RETURN MERGE(o40, {{c: 1}})",
    "shared matches": f"{NAMED} RETURN MATCHES(o40, [o39, o40])",
    # everything at once
    "collect everything": "FOR a IN d FOR b IN d FOR c IN d COLLECT k = 1 INTO g RETURN g",
    "sort everything": "FOR a IN d FOR b IN d FOR c IN d FOR f IN d SORT a.n, b.n DESC RETURN 1",
    "aggregate everything": "FOR a IN d FOR b IN d FOR c IN d FOR f IN d COLLECT"
    " AGGREGATE p = PUSH([a, b]) RETURN LENGTH(p)",
    "window": "FOR a IN 1..1000000 WINDOW {preceding: 100000, following: 100000} AGGREGATE"
    " n = SUM(a) RETURN n",
    "window of lists": 'FOR a IN 1..1000000 WINDOW {preceding: "unbounded"} AGGREGATE'
    " u = SORTED_UNIQUE(a) RETURN LENGTH(u)",
    # graphs
    "complete graph": 'FOR v IN 1..50 OUTBOUND "d/0" e RETURN v._key',
    "complete graph in breadth": 'FOR v IN 1..50 ANY "d/0" e OPTIONS {order: "bfs"}'
    " FILTER v.x == 9 RETURN v._key",
    "complete graph by weight": 'FOR v, x, p IN 1..50 ANY "d/0" e OPTIONS {order: "weighted"}'
    " FILTER v.x == 9 RETURN p",
    "all paths": 'FOR p IN 1..50 OUTBOUND K_PATHS "d/0" TO "d/1" e FILTER p == 1 RETURN p',
    "paths by weight": 'FOR p IN OUTBOUND K_SHORTEST_PATHS "d/0" TO "d/1" e FILTER p == 1 RETURN 1',
}
WRITING: Final = {
    "shared insert": f"{SHARED} INSERT {{a: a40}} INTO w",
    "shared insert of rows": f"{SHARED} FOR i IN 1..3 INSERT {{i}} INTO w",
    "shared key": f"{SHARED} REMOVE a40 IN w",
    "shared update": f"{NAMED} UPDATE 'k' WITH o40 IN w",
    "shared search": f"{NAMED} UPSERT {{a: o40}} INSERT {{}} UPDATE {{}} IN w",
    "inserts without end": "FOR i IN 1..1000000000 INSERT {i} INTO w",
    "updates without end": "FOR i IN 1..1000000000 UPDATE 'k' WITH {i} IN w",
    "wide insert": f"{shared(16)} INSERT {{a: [" + ", ".join(["a16"] * 1_800) + "]} INTO w",
    "large inserts": 'FOR i IN 1..100 INSERT {t: REPEAT("x", 4000000 - i)} INTO w',
}
TOO_MUCH: Final = (
    "distinct", "collect everything", "repeats",
    "repeats in brackets", "lists of ranges", "kept ranges", "wide rows in brackets",
    "many slow functions", "sorted large values", "unique large values", "shared members",
    "subqueries in subqueries",
)  # fmt: skip
"""Queries that have to be ended for their memory, however long they may take."""

DEEP: Final = {
    "brackets": "RETURN " + "(" * 40_000 + "1" + ")" * 20_000,
    "lists": "RETURN " + "[" * 5_000,
    "not": "RETURN " + "NOT " * 3_000 + "1",
    "minus": "RETURN " + "-" * 3_900 + "1",
    "chain": "RETURN " + "1 + " * 2_000 + "1",
    "ternaries": "RETURN " + "1 ? 2 : " * 1_000 + "3",
    "attributes": "LET a = {} RETURN a" + ".a" * 2_000,
    "subqueries": "RETURN " + "(RETURN " * 500 + "1" + ")" * 500,
    "calls": "RETURN " + "NOOPT(" * 500 + "1" + ")" * 500,
    "brackets of brackets": "RETURN [1]" + "[*]" * 1_300,
    "ands": "FOR x IN d FILTER " + "x.n == 1 AND " * 600 + "true RETURN x",
}


FAIR: Final = (
    f"{BIG} FOR i IN 1..500 SORT -i LIMIT 1 RETURN [i, LENGTH(big)]",
    f"{BIG} FOR i IN 1..500 SORT -i RETURN LENGTH(big) + i",
    f"{BIG} FOR i IN 1..200 UPSERT {{_key: 'k'}} INSERT {{}} UPDATE {{i}} IN w RETURN 1",
    "FOR u IN 1..42 LET q = (FOR x IN d FOR y IN d SORT y.n, x.n LIMIT 1 RETURN x) RETURN 1",
    "FOR u IN 1..22 LET q = (FOR x IN d FOR y IN d COLLECT k = [x, y._id] RETURN 1) RETURN 1",
    "FOR u IN 1..30 FOR v IN 1..2 OUTBOUND 'd/0' e OPTIONS {order: 'bfs'} RETURN 1",
    "FOR u IN 1..25 FOR v IN OUTBOUND SHORTEST_PATH 'd/0' TO 'd/9' e RETURN 1",
    "FOR u IN 1..5 FOR p IN OUTBOUND ALL_SHORTEST_PATHS 'd/0' TO 'd/9' e RETURN 1",
    "FOR p IN OUTBOUND ALL_SHORTEST_PATHS 'd/0' TO 'd/none' e RETURN 1",
    "FOR p IN OUTBOUND K_SHORTEST_PATHS 'd/0' TO 'd/none' e RETURN 1",
    "FOR p IN 1..3 OUTBOUND K_PATHS 'd/0' TO 'd/9' e LIMIT 250 RETURN 1",
    "FOR i IN 1..5000 WINDOW {preceding: 'unbounded'} AGGREGATE s = SUM(i) RETURN s",
)
"""Large queries that are answered."""


DEEP_USES: Final = (
    "RETURN a449",
    "FOR i IN 1..2 SORT a449 RETURN 1",
    "RETURN TO_STRING(a449)",
    "RETURN a449 == a448",
    "INSERT {a: a449} INTO w",
    "RETURN FLATTEN(a449, 1000)",
    "FOR i IN 1..2 COLLECT k = a449 RETURN k",
)


class Asking:
    """A store with a complete graph of a few dozen vertices, asked by queries."""

    def __init__(self, store: EmbeddedStore) -> None:
        self.store = store

    async def fill(self) -> None:
        """Documents, edges from each to each, and a place to write to."""
        for name in ("d", "w"):
            await Caller(self.store, name)("create-collection")
        await Caller(self.store, "e")("create-collection", edge=True)
        documents = [{"_key": str(n), "n": n % 7, "text": "x" * 100} for n in range(40)]
        edges = [
            {"_from": f"d/{one}", "_to": f"d/{other}"}
            for one in range(40) for other in range(40) if one != other
        ]  # fmt: skip
        await Caller(self.store, "d")("insert-many", documents=documents)
        for start in range(0, len(edges), 500):
            await Caller(self.store, "e")("insert-many", documents=edges[start : start + 500])
        await Caller(self.store, "w")("insert", document={"_key": "k"})

    async def __call__(self, text: str, patience_ms: int = DEADLINE_MS, **asked: Any) -> Done:
        """A query, as the pipeline has it run."""
        arguments = Aql(query=text, **asked)
        tree = parse(text)
        check_run(tree, arguments.bind_vars)
        modifies = analyse(tree).modifies
        query = RunnableQuery(tree, arguments.bind_vars, arguments, modifies, max_rows=10**9)
        claim = make_claim() if modifies else None
        work = Work(
            OPERATIONS["aql"], DATABASE, "@", arguments, now_ms() + patience_ms, claim, query=query
        )
        done = await self.store.execute(work)
        if done.cursor is not None:
            await drain(done, now_ms() + patience_ms)
        return done


async def drain(done: Done, deadline_ms: int) -> None:
    """Ask for all pages."""
    cursor = done.cursor
    assert cursor is not None
    try:
        while (await cursor.fetch(deadline_ms)).more:
            pass
    finally:
        await cursor.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store's files, filled once."""
    folder = tmp_path_factory.mktemp("hostile") / "store"

    async def fill() -> None:
        store = EmbeddedStore(folder)
        await store.start()
        await Asking(store).fill()
        await store.stop()

    asyncio.run(fill())
    return folder


@pytest.fixture
async def asking(folder: Path, tmp_path: Path) -> AsyncIterator[Asking]:
    """A store that gives a query little memory; it stops, and no thread of it stays."""
    copy = Path(shutil.copytree(folder, tmp_path / "store"))
    store = EmbeddedStore(copy, settings=EmbeddedSettings(query_memory_bytes=MEMORY_MIB * MIB))
    await store.start()
    yield Asking(store)
    await asyncio.wait_for(store.stop(), OVERSHOOT_S)
    assert not [one.name for one in threading.enumerate() if one.name.startswith("store-")]


def peak_mib() -> float:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def refusal(asking: Asking, text: str, **asked: Any) -> BaseException:
    """How a query ends that cannot end well; it takes neither long nor much memory."""
    began, before = time.monotonic(), peak_mib()
    with pytest.raises(MallkuError) as refused:
        await asking(text, **asked)
    assert time.monotonic() - began < DEADLINE_MS / 1000 + OVERSHOOT_S
    assert peak_mib() - before < GROWTH_MIB
    return refused.value


async def error_of(asking: Asking, text: str) -> MallkuError | None:
    """The error that a query ends with, None where it is answered."""
    try:
        await asking(text, PATIENCE_MS)
    except MallkuError as error:
        return error
    return None


@pytest.mark.parametrize("name", READING)
async def test_a_hostile_query_is_ended(asking: Asking, name: str) -> None:
    """By its memory or its time; the store answers others before and after."""
    ended = await refusal(asking, READING[name])
    assert isinstance(ended, BOUNDED), repr(ended)
    assert (await asking("RETURN LENGTH(d)", PATIENCE_MS)).result["result"] == [40]


@pytest.mark.parametrize("name", TOO_MUCH)
async def test_memory_ends_a_query_that_has_time(asking: Asking, name: str) -> None:
    """With ArangoDB's error 32, before the process has grown by much."""
    before = peak_mib()
    error = await error_of(asking, READING[name])
    assert isinstance(error, ResourceLimit), repr(error)
    assert peak_mib() - before < GROWTH_MIB


@pytest.mark.parametrize("name", WRITING)
async def test_a_hostile_change_is_ended_and_undone(asking: Asking, name: str) -> None:
    """Nothing of it is kept, and the next write goes on."""
    ended = await refusal(asking, WRITING[name])
    assert isinstance(ended, (*BOUNDED, InvalidDocument)), repr(ended)
    assert (await asking("FOR x IN w RETURN x._key", PATIENCE_MS)).result["result"] == ["k"]
    done = await asking("INSERT {_key: 'after'} INTO w RETURN NEW._key", PATIENCE_MS)
    assert done.result["result"] == ["after"]


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("levels", [FEW_LEVELS, 45, 120, 149, None])
async def test_a_deep_query_is_answered_or_refused(
    asking: Asking, name: str, levels: int | None
) -> None:
    """With what it means or with an error of the query's; nothing overflows on the way."""
    text = DEEP[name] if levels is None else shallower(name, levels)
    error = await error_of(asking, text)
    assert error is None or isinstance(error, InvalidQuery | QueryFailed | ResourceLimit)
    assert error is None or levels != FEW_LEVELS


def shallower(name: str, levels: int) -> str:
    """A query of the same kind that nests so many levels."""
    return {
        "brackets": "RETURN " + "(" * levels + "1" + ")" * levels,
        "lists": "RETURN " + "[" * levels + "]" * levels,
        "not": "RETURN " + "NOT " * levels + "1",
        "minus": "RETURN " + "- " * levels + "1",
        "chain": "FOR x IN d RETURN " + "x.n + " * levels + "1",
        "ternaries": "FOR x IN d RETURN " + "x.n ? 2 : " * levels + "3",
        "attributes": "FOR x IN d RETURN x" + ".a" * levels,
        "subqueries": "RETURN " + "(RETURN " * levels + "1" + ")" * levels,
        "calls": "RETURN " + "NOOPT(" * levels + "1" + ")" * levels,
        "brackets of brackets": "RETURN [1]" + "[*]" * levels,
        "ands": "FOR x IN d FILTER " + "x.n == 1 AND " * levels + "true RETURN x",
    }[name]


async def test_a_deep_value_is_answered_or_refused(asking: Asking) -> None:
    """Values nest deeper than texts: each LET may put one level around the former."""
    lets = " ".join(f"LET a{n} = [a{n - 1}]" for n in range(1, 450))
    for what in DEEP_USES:
        error = await error_of(asking, f"LET a0 = [1] {lets} {what}")
        assert error is None or isinstance(error, InvalidQuery | InvalidDocument | ResourceLimit)


async def test_huge_options_and_binds_are_looked_at_once(asking: Asking) -> None:
    """Options that nobody knows cost nothing; values that are bound are there once."""
    options = "{" + ", ".join(f"o{n}: {n}" for n in range(900)) + "}"
    assert (
        await asking(f"FOR v IN 1..1 OUTBOUND 'd/0' e OPTIONS {options} RETURN v", PATIENCE_MS)
    ).result
    binds = {"list": list(range(100_000))}
    text = "FOR x IN d FILTER x.n IN @list SORT x.n RETURN x.n"
    done = await asking(text, PATIENCE_MS, bind_vars=binds)
    assert len(done.result["result"]) == 40


async def test_others_are_served_while_hostile_queries_run(asking: Asking) -> None:
    """Writes at once; readings as soon as a thread is free, which is by the deadline."""
    hostile = [
        asyncio.ensure_future(asking(READING["cross join of ranges"], 2_000)) for _ in range(2)
    ]
    await asyncio.sleep(0)
    await Caller(asking.store, "w")("insert", document={"_key": "meanwhile"})
    assert not any(task.done() for task in hostile)
    assert (await asking("RETURN LENGTH(w)", PATIENCE_MS)).result["result"] == [2]
    ended = await asyncio.gather(*hostile, return_exceptions=True)
    assert all(isinstance(one, DeadlineExceeded) for one in ended)


async def test_what_is_large_but_fair_is_answered(asking: Asking) -> None:
    """Memory is counted for what is there at a time: not for rows that are gone, nor many times."""
    done = await asking(
        "FOR i IN 1..10000 LET s = (FOR j IN 1..30 RETURN [j, i])"
        " FILTER LENGTH(s) < 0 RETURN 1", PATIENCE_MS,
    )  # fmt: skip
    assert done.result["result"] == []
    for text in FAIR:
        await asking(text, PATIENCE_MS)
