"""What strangers try at a door: to sit on it, to be sent elsewhere, to be told too little."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time

import httpx
import pytest

from mallku_client.http import serving as serving_module
from mallku_client.http.connections import bounded
from mallku_client.http.pages import lines
from mallku_contracts.dpop import API, Asked
from mallku_contracts.errors import CursorLost
from tests.client.http.stage import Holder, served, visitor
from tests.integration.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")
DOCUMENTS = f"{API}/collections/memory_anchors/documents"


async def test_who_connects_and_says_nothing_is_let_go(
    world: World, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither an empty connection nor half a head is kept beyond its time."""
    monkeypatch.setattr(serving_module, "KEEP_ALIVE_S", 1)
    async with served(world, tmp_path) as url:  # type: ignore[arg-type]
        host, port = url.removeprefix("http://").split(":")
        for said in (b"", b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: "):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(said)
            async with asyncio.timeout(5.0):
                assert await reader.read() == b""
            writer.close()
        async with visitor(url) as http:
            assert (await http.get(f"{API}/collections")).status_code == 200


async def test_connections_are_bounded(
    world: World, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more than a door takes is closed at once; when another leaves, there is room again."""
    monkeypatch.setattr(serving_module, "bounded", lambda _most, life_s: bounded(2, life_s))
    async with served(world, tmp_path) as url:  # type: ignore[arg-type]
        host, port = url.removeprefix("http://").split(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(5.0):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        for _, each in [*held, (reader, writer)]:
            each.close()
            with contextlib.suppress(ConnectionResetError):
                await each.wait_closed()
        async with visitor(url) as http, asyncio.timeout(5.0):
            while True:
                try:
                    assert (await http.get("/health")).status_code == 200
                    break
                except httpx.TransportError:
                    continue  # those that left are still counted


async def test_no_answer_sends_anybody_elsewhere(http: httpx.AsyncClient) -> None:
    """A slash too many is no path; whoever sets the header Host moves nobody."""
    for path in (f"{DOCUMENTS}/", f"{API}/collections/", "/health/"):
        answer = await http.get(path, headers={"Host": "evil.example"})
        assert answer.status_code == 404
        assert "location" not in answer.headers


async def test_conditions_that_cannot_be_kept_are_refused(http: httpx.AsyncClient) -> None:
    """A revision in `If-None-Match` of a PUT is not passed over; an empty `If-Match` is none."""
    place = (await http.post(DOCUMENTS, json={"n": 1})).headers["location"]
    refused = await http.put(place, json={"n": 2}, headers={"If-None-Match": '"_kR"'})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_arguments")
    empty = await http.delete(place, headers={"If-Match": '""'})
    assert empty.status_code in {400, 412}
    other, none, new = {"If-Match": '"other"'}, {"If-None-Match": "*"}, {"n": 2}
    for attempt in (
        http.delete(place, headers=none),
        http.patch(place, json=new, headers={"If-None-Match": '"current"'}),
        http.put(place, json=new, headers=other | none),
        http.put(f"{DOCUMENTS}/not-there", json=new, headers=other | none),
        http.head(place, headers=other),
        http.post(DOCUMENTS, json=new, headers=other),
        http.post(DOCUMENTS, json=new, headers=none),
        http.get(DOCUMENTS, headers=none),
        http.post(f"{API}/queries", json={"query": "RETURN 1"}, headers=other),
        http.delete(f"{API}/collections/memory_anchors", headers=other),
        http.delete(place, headers=[("If-Match", '"a"'), ("If-Match", '"b"')]),
    ):
        assert (await attempt).status_code == 400
    there = await http.get(place)
    assert there.json()["n"] == 1
    assert (await http.get(place, headers={"If-Match": there.headers["etag"]})).status_code == 200
    assert (await http.get(place, headers={"If-Match": "*"})).status_code == 200
    refused = await http.get(place, headers=other)
    assert (refused.status_code, refused.json()["code"]) == (412, "revision_mismatch")


async def test_content_names_no_other_document_than_the_path(http: httpx.AsyncClient) -> None:
    """Neither `_key` nor `_id` in the content moves a change to another document."""
    for key in ("named", "other"):
        assert (await http.post(DOCUMENTS, json={"_key": key, "n": 1})).status_code == 201
    for field, value in (("_key", "other"), ("_id", "memory_anchors/other"), ("_id", None)):
        for change in (http.put, http.patch):
            answer = await change(f"{DOCUMENTS}/named", json={field: value, "n": 2})
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_arguments")
    assert (await http.get(f"{DOCUMENTS}/other")).json()["n"] == 1


async def test_misspelled_parameters_are_refused(http: httpx.AsyncClient) -> None:
    """What means nothing is not passed over: no unfiltered answer, no unconditional change."""
    assert (await http.get(f'{DOCUMENTS}?fliter={{"n":1}}')).status_code == 400
    place = (await http.post(DOCUMENTS, json={})).headers["location"]
    assert (await http.delete(f"{place}?rev=1")).status_code == 400
    assert (await http.get(place)).status_code == 200
    assert (await http.get(f"{DOCUMENTS}?limit=1&skip=1&page_size=1")).status_code == 200


async def test_lines_under_a_proof_say_that_there_is_more(world: World, url: str) -> None:
    """One page as lines names the next, so that nobody takes a part for all."""
    alice = Holder.of(world, "alice")
    async with visitor(url, f"{'a-secret-of-at-least-thirty-two-characters'}-of-alice") as own:
        for n in range(4):
            assert (
                await own.post(f"{API}/collections/notes/documents", json={"n": n})
            ).status_code == 201
    path = f"{API}/collections/notes/documents"
    asked = Asked("find", "mallku", "notes", {"batch_size": 2})
    proof = alice.proof("GET", path, command=asked.digest())
    headers = {
        "Authorization": f"DPoP {alice.token.decode()}",
        "DPoP": proof.decode(),
        "Accept": "application/x-ndjson",
    }
    async with visitor(url, None) as http:
        answer = await http.get(f"{path}?page_size=2", headers=headers)
    assert answer.status_code == 200, answer.text
    assert len(answer.text.splitlines()) == 2
    assert 'rel="next"' in answer.headers["link"]


async def test_rest_is_given_back_when_its_reader_leaves() -> None:
    """Lines that are left before their end, or fail on the way, say so once."""

    async def rest(*, fails: bool = False) -> object:
        yield [2]
        if fails:
            raise CursorLost("gone")

    async def read(most: int, *, fails: bool = False) -> list[str]:
        told: list[str] = []
        answer = lines([1], rest(fails=fails), given_up=lambda: told.append("left"))  # type: ignore[arg-type]
        body = answer.body_iterator  # type: ignore[attr-defined]
        for _ in range(most):
            if await anext(body, None) is None:
                break
        await body.aclose()
        return told

    assert await read(1) == ["left"]
    assert await read(9) == []
    assert await read(9, fails=True) == ["left"]


async def test_hostile_json_is_refused_with_a_code(http: httpx.AsyncClient) -> None:
    """What JSON should not hold is the caller's fault, and never a surprise."""
    for content in (
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": "\\ud800"}',
        '{"\\ud800": 1}',
        '{"a": ' + "9" * 5_000 + "}",
        '{"a": 18446744073709551616}',
        "[" * 50_000,
        '{"a": ' + "[" * 500 + "]" * 500 + "}",
    ):
        answer = await http.post(
            DOCUMENTS, content=content, headers={"Content-Type": "application/json"}
        )
        assert 400 <= answer.status_code < 500, (content[:30], answer.text)
        assert json.loads(answer.text)["code"]


async def test_paths_with_tricks_reach_nothing_else(http: httpx.AsyncClient) -> None:
    """Encoded slashes, dots, empty names and patterns are no way to another document."""
    for path in ("a%2Fb", "..%2f..%2fflags", "%00", "a%0d%0aX-Evil:%201", "%ff", "*", "%3E"):
        answer = await http.get(f"{DOCUMENTS}/{path}")
        assert answer.status_code in {400, 404}, (path, answer.text)
        assert "x-evil" not in answer.headers
    began = time.monotonic()
    assert (await http.get(f"{DOCUMENTS}/x", headers={"Accept": "a/b," * 5_000})).status_code == 404
    assert time.monotonic() - began < 5.0
