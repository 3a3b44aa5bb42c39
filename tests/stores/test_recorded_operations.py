"""Every operation, with exactly the requests that were recorded, and the results that were read.

`make record ARANGO_URL=…` records them anew. Where no server was at hand they come from the
simulated one and are marked `documented`. Replayed, an unexpected request fails and shows how it
differs from the recorded one.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mallku_contracts.errors import MallkuError
from mallku_contracts.operations import OPERATIONS as OPERATIONS_TABLE
from mallku_workers.stores.arango import ArangoSettings, ArangoStore
from mallku_workers.stores.base import LedgerClaim, Work
from tests.stores.asking import make_query, make_transaction
from tests.stores.calling import DATABASE, make_work, now_ms
from tests.support import real_arango
from tests.support.recordings import Exchange, Names, Recorder, Replayer, load, save
from tests.support.simulated_arango import VERSION, SimulatedArango

FILE = Path(__file__).parent / "recordings" / "operations.jsonl"
RECORDING = "MALLKU_RECORD" in os.environ

_EDGE = {"_from": "people/inti", "_to": "people/qori"}
_GRAPH = {
    "edge_collection": "knows",
    "from_vertex_collections": ["people"],
    "to_vertex_collections": ["people"],
}

_READING = "FOR p IN people FILTER p.n >= @least SORT p.n RETURN p.n"
_PAGED = "FOR p IN people SORT p.n LIMIT 3 RETURN p.n"
_GROUPED = "FOR p IN people COLLECT g = p.g WITH COUNT INTO n SORT g RETURN [g, n]"
_CHANGING = "FOR p IN people FILTER p.g == @g SORT p.n UPDATE p WITH {h: 2} IN people RETURN NEW.h"

OPERATIONS: list[tuple[str, str, dict[str, Any], str | None]] = [
    ("create-collection", "people", {}, None),
    ("create-collection", "people", {}, "collection_exists"),
    ("create-collection", "knows", {"edge": True}, None),
    ("list-collections", "people", {}, None),
    ("create-index", "people", {"fields": ["n"], "name": "numbers", "unique": True}, None),
    ("insert", "people", {"document": {"_key": "inti", "n": 1, "o": {"x": 1}}}, None),
    ("insert", "people", {"document": {"_key": "inti"}}, "unique_violation"),
    ("insert", "people", {"document": {"_key": "other", "n": 1}}, "unique_violation"),
    ("insert", "people", {"document": {"n": 2}, "return_new": True}, None),
    ("insert", "people", {"document": {"_key": "inti", "n": 3}, "overwrite_mode": "update"}, None),
    ("insert", "nobody", {"document": {}}, "collection_not_found"),
    ("insert", "knows", {"document": {"_key": "e", **_EDGE}}, None),
    ("insert", "knows", {"document": {"_key": "f"}}, "invalid_edge"),
    ("get", "people", {"document": "inti"}, None),
    ("get", "people", {"document": "none"}, None),
    ("exists", "people", {"document": "inti"}, None),
    ("update", "people", {"document": {"_key": "inti", "o": {"y": 2}}, "return_old": True}, None),
    ("update", "people", {"document": {"_key": "none", "n": 9}}, "document_not_found"),
    (
        "update",
        "people",
        {"document": {"_key": "inti", "_rev": "_no", "n": 9}},
        "revision_mismatch",
    ),
    ("replace", "people", {"document": {"_key": "inti", "n": 4}}, None),
    (
        "insert-many",
        "people",
        {"documents": [{"_key": "a", "n": 10}, {"_key": "inti"}, {"_key": "b", "n": 11}]},
        None,
    ),
    ("update-many", "people", {"documents": [{"_key": "a", "g": 1}, {"_key": "none"}]}, None),
    ("replace-many", "people", {"documents": [{"_key": "b", "n": 12, "g": 1}]}, None),
    ("get-many", "people", {"documents": ["b", "none", "a"]}, None),
    ("find", "people", {"filters": {"g": 1}}, None),
    ("find", "people", {"sort": [{"sort_by": "n", "sort_order": "DESC"}], "limit": 2}, None),
    ("find", "people", {"after": "a", "batch_size": 1}, None),
    ("count", "people", {}, None),
    ("count", "people", {"filters": {"g": 1}}, None),
    ("update-match", "people", {"filters": {"g": 1}, "body": {"h": 1}}, None),
    ("replace-match", "people", {"filters": {"n": 12}, "body": {"n": 13, "g": 1}}, None),
    ("upsert", "people", {"filters": {"n": 13}, "insert": {}, "update": {"u": 1}}, None),
    ("upsert", "people", {"filters": {"_key": "z"}, "insert": {"_key": "z"}, "update": {}}, None),
    ("aql", "@", {"query": _READING, "bind_vars": {"least": 4}, "batch_size": 2}, None),
    ("aql", "@", {"query": _READING, "bind_vars": {"least": 1}, "count": True}, None),
    ("aql", "@", {"query": _PAGED, "full_count": True, "batch_size": 1, "profile": True}, None),
    ("aql", "@", {"query": _GROUPED}, None),
    ("aql", "@", {"query": _READING, "bind_vars": {"least": 1}, "explain": True}, None),
    ("aql", "@", {"query": "RETURN 1 / 0", "fail_on_warning": True}, "query_failed"),
    ("aql", "@", {"query": "FOR n IN nobody RETURN n"}, "collection_not_found"),
    ("aql", "@", {"query": _CHANGING, "bind_vars": {"g": 1}}, None),
    ("aql", "@", {"query": "INSERT {_key: 'inti'} INTO people"}, "unique_violation"),
    (
        "aql",
        "@",
        {"query": "UPSERT {_key: 'q'} INSERT {_key: 'q', n: 77} UPDATE {} IN people"},
        None,
    ),
    ("aql", "@", {"query": "REMOVE 'q' IN people RETURN OLD._key"}, None),
    (
        "transaction",
        "@",
        {
            "steps": [
                ("insert", "people", {"document": {"_key": "t", "n": 20}}),
                ("update", "people", {"document": {"_key": "t", "m": 1}, "return_new": True}),
                ("insert-many", "knows", {"documents": [{"_key": "g", **_EDGE}]}),
                ("upsert", "people", {"filters": {"n": 20}, "insert": {}, "update": {"u": 2}}),
                ("delete-match", "people", {"filters": {"n": 20}}),
            ]
        },
        None,
    ),
    (
        "transaction",
        "@",
        {
            "steps": [
                ("insert", "people", {"document": {"_key": "t"}}),
                ("insert", "people", {"document": {"_key": "inti"}}),
            ]
        },
        "unique_violation",
    ),
    (
        "transaction",
        "@",
        {"steps": [("insert", "nobody", {"document": {}})]},
        "collection_not_found",
    ),
    ("delete-match", "people", {"filters": {"g": 1}}, None),
    ("delete", "people", {"document": "inti", "return_old": True}, None),
    ("delete", "people", {"document": "inti"}, "document_not_found"),
    ("delete-many", "people", {"documents": ["z", "none"]}, None),
    ("describe-collection", "knows", {}, None),
    ("list-indexes", "people", {}, None),
    ("drop-index", "people", {"index": "numbers"}, None),
    ("create-graph", "people", {"name": "social", "edge_definitions": [_GRAPH]}, None),
    ("list-graphs", "people", {}, None),
    ("drop-graph", "people", {"name": "social"}, None),
    ("truncate", "people", {}, None),
    ("drop-collection", "people", {}, None),
    ("drop-collection", "people", {}, "collection_not_found"),
]


def claim_of(place: int) -> LedgerClaim:
    """The claim of the operation at this place: the same in every run."""
    key = f"a{place:063x}"
    return LedgerClaim(key, bytes.fromhex(key), f"transmission-{place}", now_ms() + 900_000)


def work_of(place: int, operation: str, collection: str, arguments: dict[str, Any]) -> Work:
    """The work of an operation at this place, as the pipeline makes it."""
    if operation == "aql":
        options = dict(arguments)
        work = make_query(options.pop("query"), options.pop("bind_vars", None), **options)
        return work if work.claim is None else replace(work, claim=claim_of(place))
    if operation == "transaction":
        return make_transaction(*arguments["steps"], claim=claim_of(place))
    claim = claim_of(place) if OPERATIONS_TABLE[operation].mutates else None
    return make_work(operation, collection, arguments, claim=claim)


async def result_of(store: ArangoStore, work: Work) -> Any:
    """What an operation comes to; of a query also what it uses, and one page more."""
    if work.query is not None:
        await store.collections_of(DATABASE, work.query)
    done = await store.execute(work)
    if done.cursor is None:
        return done.result
    page = await done.cursor.fetch(work.deadline_ms)
    await done.cursor.close()
    return [done.result, page.rows, page.more]


@asynccontextmanager
async def running(url: str) -> AsyncGenerator[ArangoStore]:
    """A store that sends one request after the other."""
    user = os.environ.get("ARANGO_USER", "root")
    store = ArangoStore(ArangoSettings(url=url, auth="basic", username=user, connections=1))
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


async def carry_out_all(store: ArangoStore, case: Any) -> list[Any]:
    """The result or the error code of each operation."""
    results: list[Any] = []
    for place, (operation, collection, arguments, code) in enumerate(OPERATIONS):
        case(f"{place}: {operation}")
        work = work_of(place, operation, collection, arguments)
        try:
            result, met = await result_of(store, work), None
        except MallkuError as error:
            result = met = error.code
        assert met == code, (place, operation, result)
        results.append(result)
    entry = await store.recall(DATABASE, claim_of(0).key)
    assert entry is not None
    assert entry.result == {"name": "people", "type": "document"}
    await store.recall(DATABASE, claim_of(0).key, settled=True)
    await store.recall_transmission(DATABASE, "transmission-0", claim_of(0).key[:32])
    return results


def results_of(exchanges: list[Exchange]) -> list[Any]:
    """What the operations came to when they were recorded: the last line of a recording."""
    assert exchanges[-1].case == "results"
    results: list[Any] = exchanges[-1].response["body"]
    return results


def test_every_operation_of_a_store_is_in_the_list() -> None:
    """All but those that the worker answers itself, over either store."""
    of_the_worker = {"outcome", "next", "redrive", "describe-flags", "report-violation"}
    of_stores = OPERATIONS_TABLE.keys() - of_the_worker
    assert {operation for operation, *_ in OPERATIONS} == of_stores


@pytest.mark.skipif(RECORDING, reason="recording now")
async def test_every_operation_sends_and_reads_what_was_recorded() -> None:
    """No request more, none less, none other; and the same results."""
    exchanges = load(FILE)
    replayer = Replayer(exchanges=exchanges[:-1])
    try:
        async with running(replayer.url) as store:
            try:
                results = await carry_out_all(store, lambda _case: None)
            finally:
                replayer.check(to_the_end=False)
        replayer.check()
        assert replayer.names.normal(results) == results_of(exchanges)
    finally:
        replayer.close()


@pytest.mark.skipif(not RECORDING, reason="make record ARANGO_URL=… records")
async def test_record_every_operation(tmp_path: Path) -> None:
    """Record with the real server where there is one, else with the simulated one."""
    url = real_arango.real_url()
    simulated = None
    if url is None:
        simulated = SimulatedArango(tmp_path)
        recorder = Recorder(target=simulated.url, source="documented", server=VERSION)
    else:
        real_arango.fresh_database(url)
        recorder = Recorder(target=url, server=real_arango.version(url))

    def case(name: str) -> None:
        recorder.case = name

    try:
        case("start")
        async with running(recorder.url) as store:
            results = await carry_out_all(store, case)
        said = {"status": 200, "body": recorder.names.normal(results)}
        last = Exchange("results", recorder.source, recorder.server, {}, said)
        save(FILE, [*recorder.exchanges, last])
    finally:
        recorder.close()
        if simulated is not None:
            simulated.close()
        elif url is not None:
            real_arango.drop_database(url)


async def test_a_request_that_was_not_recorded_fails_and_shows_the_difference() -> None:
    """Strict: neither another body, nor one request more, nor one less."""
    exchanges = load(FILE)[:-1]
    replayer = Replayer(exchanges=list(exchanges))
    try:
        async with running(replayer.url) as store:
            work = make_work("create-collection", "others", {}, claim=claim_of(0))
            with pytest.raises(MallkuError):
                await store.execute(work)
        assert '-    "name": "people"' in replayer.mistakes[-1] or replayer.mistakes
        with pytest.raises(AssertionError, match="recorded"):
            replayer.check()
        assert any("people" in mistake and "others" in mistake for mistake in replayer.mistakes)
    finally:
        replayer.close()


def test_generated_values_have_names() -> None:
    """The same value has the same name, whatever it was in this run, and comes back as itself."""
    names = Names()
    said = {"_id": "people/17", "_key": "17", "_rev": "_meiqyLy---", "n": "17", "deadline": 5}
    normal = names.normal(said)
    assert normal == {
        "_id": "people/<number:1>",
        "_key": "<number:1>",
        "_rev": "<rev:1>",
        "n": "17",
        "deadline": "<deadline>",
    }
    again = Names()
    concrete = again.concrete(normal)
    assert again.normal(concrete) == normal
    assert concrete["_id"] == f"people/{concrete['_key']}"
