"""The other paths: collections, indexes, batches, queries, transactions, commands, jobs, graphs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from mallku_contracts.dpop import Asked
from tests.client.http.stage import Holder, visitor
from tests.integration.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")
API = "/api/v1"
ANCHORS = f"{API}/collections/memory_anchors"


async def outcome(http: httpx.AsyncClient, place: str) -> dict[str, Any]:
    """A job's outcome, once it has one."""
    async with asyncio.timeout(20.0):
        while True:
            said: dict[str, Any] = (await http.get(place)).json()
            if said["state"] in {"done", "failed"}:
                return said


async def test_collections_are_made_described_and_removed_by_who_may(
    http: httpx.AsyncClient, world: World, url: str
) -> None:
    """A service makes and describes one; removing it is not among its rules, but its operator's."""
    made = await http.post(f"{API}/collections", json={"name": "threads", "edge": True})
    assert (made.status_code, made.headers["location"]) == (201, f"{API}/collections/threads")
    listed = (await http.get(f"{API}/collections")).json()["result"]
    assert {"name": "threads", "type": "edge"} in listed
    again = await http.post(f"{API}/collections", json={"name": "threads"})
    assert (again.status_code, again.json()["code"]) == (409, "collection_exists")
    assert (await http.get(f"{API}/collections/threads")).json()["count"] == 0
    assert (await http.delete(f"{API}/collections/threads")).status_code == 403
    operator, place = Holder.of(world, "operator"), f"{API}/collections/threads"
    digest = Asked("drop-collection", "mallku", "threads", {}).digest()
    proof = operator.proof("DELETE", place, command=digest)
    headers = {"Authorization": f"DPoP {operator.token.decode()}", "DPoP": proof.decode()}
    async with visitor(url, None) as administrator:
        assert (await administrator.delete(place, headers=headers)).status_code == 204
    assert (await http.get(place)).status_code == 404


async def test_indexes_and_counts(http: httpx.AsyncClient) -> None:
    """An index is made and listed; counting takes a filter."""
    made = await http.post(f"{ANCHORS}/indexes", json={"fields": ["kind"], "name": "by_kind"})
    assert made.status_code == 201
    listed = (await http.get(f"{ANCHORS}/indexes")).json()["result"]
    assert "by_kind" in {index["name"] for index in listed}
    await http.post(f"{ANCHORS}/documents", json={"kind": "counted"})
    counted = await http.get(f"{ANCHORS}/count", params={"filter": '{"kind": "counted"}'})
    assert counted.json() == {"count": 1}
    wrong = await http.get(f"{ANCHORS}/count", params={"filter": "[1]"})
    assert wrong.json()["code"] == "invalid_arguments"


async def test_batch_has_a_result_or_an_error_for_each(http: httpx.AsyncClient) -> None:
    """What fails in a batch fails alone."""
    documents = [{"_key": "b1"}, {"_key": "b2"}, {"_key": "b1"}]
    body = {"operation": "insert", "documents": documents}
    results = (await http.post(f"{ANCHORS}/batches", json=body)).json()["result"]
    assert [result.get("_key") for result in results] == ["b1", "b2", None]
    assert results[2]["error"]["code"] == "unique_violation"
    body = {"operation": "get", "documents": ["b2", "b1"]}
    found = (await http.post(f"{ANCHORS}/batches", json=body)).json()["result"]
    assert {each["_key"] for each in found} == {"b1", "b2"}
    wrong = await http.post(f"{ANCHORS}/batches", json={"operation": "drop", "documents": []})
    assert wrong.status_code == 400


async def test_query_comes_in_pages_or_lines(http: httpx.AsyncClient) -> None:
    """Pages are linked, can be asked for again, and given back; lines bring everything."""
    body = {"operation": "insert", "documents": [{"queried": n} for n in range(25)]}
    await http.post(f"{ANCHORS}/batches", json=body)
    query = {
        "query": "FOR a IN memory_anchors FILTER a.queried >= @n SORT a.queried RETURN a.queried",
        "bind_vars": {"n": 0},
        "batch_size": 10,
    }
    first = await http.post(f"{API}/queries", json=query)
    rows, place = first.json()["result"], first.json()["next"]
    again = (await http.get(place)).json()
    while place:
        page = (await http.get(place)).json()
        rows, place = rows + page["result"], page["next"]
    assert rows == list(range(25))
    assert again["result"] == list(range(10, 20))
    lines = await http.post(
        f"{API}/queries", json=query, headers={"Accept": "application/x-ndjson"}
    )
    assert [json.loads(line) for line in lines.text.splitlines()] == rows
    assert "mallku-id" in lines.headers
    held = (await http.post(f"{API}/queries", json=query)).json()["next"]
    closed = await http.delete(held.partition("/pages/")[0])
    assert closed.status_code == 204
    lost = await http.get(held)
    assert (lost.status_code, lost.json()["code"]) == (410, "cursor_lost")
    wrong = await http.post(f"{API}/queries", json={"query": "FOR a IN"})
    assert (wrong.status_code, wrong.json()["details"]["line"]) == (400, 1)


async def test_lines_of_a_query_that_changes_say_where_the_trail_holds_it(
    http: httpx.AsyncClient,
) -> None:
    """Once, with its id and receipt, as a page has them; from memory when it is sent again."""
    query = {"query": "INSERT {lined: 1} INTO memory_anchors RETURN NEW.lined"}
    headers = {"Accept": "application/x-ndjson", "Idempotency-Key": "lined"}
    for replayed in (None, "true"):
        lines = await http.post(f"{API}/queries", json=query, headers=headers)
        assert lines.text == "1\n"
        assert lines.headers["mallku-receipt"].startswith("MALLKU_AUDIT")
        assert lines.headers.get("mallku-replayed") == replayed


async def test_transaction_is_all_or_none(http: httpx.AsyncClient) -> None:
    """The step that fails is named, and nothing of the others stays."""
    step = {"operation": "insert", "collection": "memory_anchors"}
    steps = [step | {"arguments": {"document": {"_key": key}}} for key in ("t1", "t2", "t1")]
    failed = await http.post(f"{API}/transactions", json={"steps": steps})
    assert (failed.status_code, failed.json()["details"]["step"]) == (409, 2)
    assert (await http.get(f"{ANCHORS}/documents/t1")).status_code == 404
    done = await http.post(f"{API}/transactions", json={"steps": steps[:2]})
    assert [result["_key"] for result in done.json()["result"]] == ["t1", "t2"]


async def test_any_operation_goes_by_its_name(http: httpx.AsyncClient) -> None:
    """What has no path of its own is a command; `next` has paths, and junk is told."""
    body: dict[str, Any] = {
        "operation": "upsert",
        "collection": "memory_anchors",
        "arguments": {"filters": {"once": 1}, "insert": {"once": 1}, "update": {"n": 1}},
    }
    first, again = [await http.post(f"{API}/commands", json=body) for _ in range(2)]
    assert (first.json()["result"]["type"], again.json()["result"]["type"]) == ("insert", "update")
    assert "mallku-receipt" in first.headers
    for operation, status in (("next", 422), ("junk", 400), ("insert", 400)):
        refused = await http.post(f"{API}/commands", json={"operation": operation})
        assert refused.status_code == status, operation


async def test_change_can_be_kept_as_a_job(http: httpx.AsyncClient) -> None:
    """`Prefer: respond-async` answers once the job is kept; its outcome is where it says."""
    headers = {"Prefer": "respond-async", "Idempotency-Key": "door-job"}
    kept = await http.post(f"{ANCHORS}/documents", json={"_key": "job"}, headers=headers)
    assert (kept.status_code, kept.headers["location"]) == (202, f"{API}/jobs/door-job")
    assert kept.json()["receipt"]["sequence"] > 0
    said = await outcome(http, kept.headers["location"])
    assert said["result"]["_key"] == "job"
    place = f"{ANCHORS}/documents/job"
    for method, body in (("PUT", {"n": 1}), ("PATCH", {"m": 1}), ("DELETE", None)):
        later = await http.request(method, place, json=body, headers={"Prefer": "respond-async"})
        assert later.status_code == 202, later.text
        assert (await outcome(http, later.headers["location"]))["state"] == "done"
    assert (await http.get(place)).status_code == 404


async def test_job_under_a_proof_says_that_it_is_one(world: World, url: str) -> None:
    """A proof of a command is none of a job, so that nobody puts off what was to be done now."""
    alice, place = Holder.of(world, "alice"), f"{API}/collections/notes/documents"
    arguments = {"document": {"_key": "later"}}
    now = Asked("insert", "mallku", "notes", arguments)
    later = Asked("insert", "mallku", "notes", arguments, job={"run_at": 0, "order": ""})
    async with visitor(url, None) as http:
        for asked, status in ((now, 401), (later, 202)):
            proof = alice.proof("POST", place, command=asked.digest())
            answer = await http.post(
                place,
                json={"_key": "later"},
                headers={
                    "Authorization": f"DPoP {alice.token.decode()}",
                    "DPoP": proof.decode(),
                    "Prefer": "respond-async",
                },
            )
            assert answer.status_code == status, answer.text


async def test_graphs_and_flags_can_be_read(http: httpx.AsyncClient) -> None:
    """What is there of both is told."""
    assert (await http.get(f"{API}/graphs")).json() == {"result": []}
    assert "version" in (await http.get(f"{API}/flags")).json()
