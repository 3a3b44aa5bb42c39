"""Documents over HTTP: every path, its conditions, its headers, on real workers."""

from __future__ import annotations

import httpx
import pytest

from tests.integration.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")
DOCUMENTS = "/api/v1/collections/memory_anchors/documents"


async def test_document_lives_its_life(http: httpx.AsyncClient) -> None:
    """Put in, read, replaced, changed, removed: each answers with status, place and revision."""
    made = await http.post(DOCUMENTS, json={"kind": "khipu", "weight": 3})
    assert made.status_code == 201
    assert made.headers["mallku-receipt"].startswith("MALLKU_AUDIT")
    place, tag = made.headers["location"], made.headers["etag"]
    assert tag == f'"{made.json()["_rev"]}"'

    read = await http.get(place)
    assert (read.status_code, read.headers["etag"]) == (200, tag)
    assert read.json()["kind"] == "khipu"

    put = await http.put(place, json={"kind": "quipu"}, headers={"If-Match": tag})
    assert put.status_code == 200
    assert put.headers["etag"] != tag
    patched = await http.patch(place, json={"weight": 4})
    assert patched.status_code == 200
    assert {"kind": "quipu", "weight": 4}.items() <= (await http.get(place)).json().items()

    gone = await http.delete(place)
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await http.get(place)).status_code == 404
    assert (await http.head(place)).status_code == 404


async def test_conditions_are_revisions(http: httpx.AsyncClient) -> None:
    """Another revision is 412 and changes nothing; one that is known already is 304."""
    made = await http.post(DOCUMENTS, json={"_key": "conditional", "n": 1})
    place, tag = made.headers["location"], made.headers["etag"]
    for call in (
        http.put(place, json={"n": 2}, headers={"If-Match": '"other"'}),
        http.patch(place, json={"n": 2}, headers={"If-Match": '"other"'}),
        http.delete(place, headers={"If-Match": '"other"'}),
        http.put(place, json={"n": 2}, headers={"If-None-Match": "*"}),
    ):
        refused = await call
        assert refused.status_code == 412
        assert refused.json()["code"] == "revision_mismatch"
    known = await http.get(place, headers={"If-None-Match": tag})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
    assert (await http.get(place)).json()["n"] == 1
    weak = await http.delete(place, headers={"If-Match": 'W/"x"'})
    assert weak.status_code == 400
    new = await http.put(f"{DOCUMENTS}/fresh", json={}, headers={"If-None-Match": "*"})
    assert new.status_code == 201


async def test_merge_patch_removes_what_is_null(http: httpx.AsyncClient) -> None:
    """As RFC 7396 has it, null removes an attribute; as plain JSON it is a value."""
    made = await http.post(DOCUMENTS, json={"a": 1, "b": 2})
    place = made.headers["location"]
    await http.patch(place, json={"a": None})
    assert (await http.get(place)).json()["a"] is None
    headers = {"Content-Type": "application/merge-patch+json"}
    await http.patch(place, content='{"a": null}', headers=headers)
    assert "a" not in (await http.get(place)).json()


async def test_same_idempotency_key_changes_once(http: httpx.AsyncClient) -> None:
    """Sent again with its key, a change is answered from memory; another under it is 409."""
    headers = {"Idempotency-Key": "door-once"}
    first = await http.post(DOCUMENTS, json={"n": 1}, headers=headers)
    again = await http.post(DOCUMENTS, json={"n": 1}, headers={"Idempotency-Key": '"door-once"'})
    assert first.json() == again.json()
    other = await http.post(DOCUMENTS, json={"n": 2}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    outcome = await http.get("/api/v1/jobs/door-once")
    assert outcome.json()["state"] == "done"


async def test_pages_lead_to_the_next(http: httpx.AsyncClient) -> None:
    """A page says where the next one is; lines bring all of them at once."""
    batch = {"operation": "insert", "documents": [{"paged": True, "n": n} for n in range(25)]}
    await http.post("/api/v1/collections/memory_anchors/batches", json=batch)
    found, place = [], f'{DOCUMENTS}?filter={{"paged":true}}&page_size=10'
    sizes = []
    while place:
        page = await http.get(place)
        sizes.append(len(page.json()["result"]))
        found += page.json()["result"]
        place = page.json()["next"]
        assert (place is None) == ("link" not in page.headers)
    assert sizes == [10, 10, 5]
    headers = {"Accept": "application/x-ndjson"}
    lines = await http.get(f'{DOCUMENTS}?filter={{"paged":true}}&page_size=10', headers=headers)
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert [document["n"] for document in map(httpx_json, lines.text.splitlines())] == [
        document["n"] for document in found
    ]
    sorted_page = await http.get(f'{DOCUMENTS}?filter={{"paged":true}}&sort=-n&limit=3')
    assert [document["n"] for document in sorted_page.json()["result"]] == [24, 23, 22]


async def test_problem_says_what_the_wire_says(http: httpx.AsyncClient) -> None:
    """Code, number and whether to try again stand in every problem (RFC 9457)."""
    missing = await http.get(f"{DOCUMENTS}/missing")
    assert missing.headers["content-type"] == "application/problem+json"
    body = missing.json()
    assert body["type"] == "urn:mallku:error:document_not_found"
    assert (body["status"], body["code"], body["number"]) == (404, "document_not_found", 410)
    assert body["retryable"] is False
    reserved = await http.get("/api/v1/collections/mallku_ledger/documents")
    assert (reserved.status_code, reserved.json()["code"]) == (403, "reserved_name")
    for content in ("[", "3", '{"_key": "with blank"}', '{"a": NaN}'):
        refused = await http.post(
            DOCUMENTS, content=content, headers={"Content-Type": "application/json"}
        )
        assert refused.status_code == 400, content
        assert refused.headers["content-type"] == "application/problem+json"


async def test_both_names_stand_on_the_trail(http: httpx.AsyncClient, world: World) -> None:
    """A service is recorded under its own name, and the door beside it."""
    made = await http.post(DOCUMENTS, json={"recorded": True})
    trail = await world.trail()
    records = [record for record in trail.records if record.id == made.headers["mallku-id"]]
    assert {record.kind for record in records} == {"intent", "done"}
    assert {record.principal for record in records} == {"mallku"}
    assert {record.via["door"] for record in records} == {"http_door"}


def httpx_json(text: str) -> dict[str, object]:
    """One line's value."""
    value: dict[str, object] = httpx.Response(200, text=text).json()
    return value
