"""Who may ask over HTTP: proofs of possession, secrets of services, and everybody else."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from mallku_contracts.dpop import Asked
from tests.client.http.stage import ORIGIN, SECRET, Holder, visitor
from tests.integration.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")
NOTES = "/api/v1/collections/notes/documents"


def asked(operation: str, collection: str, arguments: dict[str, Any], key: str = "") -> str:
    """What the claim `cmd` holds for a command."""
    return Asked(operation, "mallku", collection, arguments, key).digest()


def shown(holder: Holder, proof: bytes) -> dict[str, str]:
    """The headers of a caller who proves."""
    return {"Authorization": f"DPoP {holder.token.decode()}", "DPoP": proof.decode()}


async def test_proof_of_any_library_reads_a_document(world: World, url: str) -> None:
    """Method and path are enough where they say everything; the answer is the caller's own view."""
    alice = Holder.of(world, "alice")
    command = asked("insert", "notes", {"document": {"_key": "proven", "text": "mine"}})
    async with visitor(url, None) as http:
        made = await http.post(
            NOTES,
            json={"_key": "proven", "text": "mine"},
            headers=shown(alice, alice.proof("POST", NOTES, command=command)),
        )
        assert made.status_code == 201, made.text
        place = made.headers["location"]
        read = await http.get(place, headers=shown(alice, alice.proof("GET", place)))
        assert read.json()["owner"] == "alice"
        found = await http.get(NOTES, headers=shown(alice, alice.proof("GET", NOTES)))
        assert [note["_key"] for note in found.json()["result"]] == ["proven"]
        gone = await http.delete(place, headers=shown(alice, alice.proof("DELETE", place)))
        assert gone.status_code == 204


async def test_content_that_the_proof_does_not_cover_is_refused(world: World, url: str) -> None:
    """A proof for one content, query or condition says nothing of another, which is told."""
    alice = Holder.of(world, "alice")
    this = asked("insert", "notes", {"document": {"text": "this"}})
    async with visitor(url, None) as http:
        for call in (
            http.post(
                NOTES,
                json={"text": "that"},
                headers=shown(alice, alice.proof("POST", NOTES, command=this)),
            ),
            http.post(
                NOTES, json={"text": "this"}, headers=shown(alice, alice.proof("POST", NOTES))
            ),
            http.post(
                NOTES,
                json={"text": "this"},
                headers=shown(alice, alice.proof("POST", NOTES, command=this))
                | {"Idempotency-Key": "k"},
            ),
            http.get(f"{NOTES}?limit=3", headers=shown(alice, alice.proof("GET", NOTES))),
            http.delete(
                f"{NOTES}/proven",
                headers=shown(alice, alice.proof("DELETE", f"{NOTES}/proven"))
                | {"If-Match": '"1"'},
            ),
        ):
            refused = await call
            assert refused.status_code == 401
            assert refused.json()["code"] == "invalid_proof"
            assert "invalid_dpop_proof" in refused.headers["www-authenticate"]
            assert refused.json()["details"]["command"]["operation"]


async def test_request_that_was_overheard_is_not_served_again(world: World, url: str) -> None:
    """The same proof a second time is a replay, at whatever worker it arrives."""
    alice = Holder.of(world, "alice")
    headers = shown(alice, alice.proof("GET", NOTES))
    async with visitor(url, None) as http:
        assert (await http.get(NOTES, headers=headers)).status_code == 200
        for _ in range(4):
            again = await http.get(NOTES, headers=headers)
            assert (again.status_code, again.json()["code"]) == (401, "replayed")


async def test_every_other_way_to_ask_is_refused(world: World, url: str) -> None:
    """Proofs for elsewhere, of others, stale or missing, and tokens and secrets that are none."""
    alice, mallku = Holder.of(world, "alice"), Holder.of(world, "mallku")
    now_s = int(time.time())
    stolen = Holder("alice", mallku.key, alice.token)
    proofs = {
        "another method": shown(alice, alice.proof("POST", NOTES)),
        "another path": shown(alice, alice.proof("GET", f"{NOTES}/x")),
        "another origin": shown(alice, alice.proof("GET", NOTES, origin="http://127.0.0.1:1")),
        "another key": shown(stolen, stolen.proof("GET", NOTES)),
        "long ago": shown(alice, alice.proof("GET", NOTES, now_s=now_s - 600)),
        "to come": shown(alice, alice.proof("GET", NOTES, now_s=now_s + 600)),
        "no proof": {"Authorization": f"DPoP {alice.token.decode()}"},
        "junk": {"Authorization": f"DPoP {alice.token.decode()}", "DPoP": "a.b.c"},
        "another's token": shown(alice, alice.proof("GET", NOTES))
        | {"Authorization": f"DPoP {mallku.token.decode()}"},
        "a bearer token": {"Authorization": f"Bearer {alice.token.decode()}"},
        "a wrong secret": {"Authorization": f"Bearer {SECRET}x"},
        "no secret": {"Authorization": "Bearer"},
        "nothing": {},
        "basic": {"Authorization": "Basic YTpi"},
    }
    async with visitor(url, None) as http:
        for what, headers in proofs.items():
            refused = await http.get(NOTES, headers=headers)
            assert refused.status_code == 401, what
            assert refused.headers["content-type"] == "application/problem+json"
            for secret in (SECRET, alice.token.decode(), "a.b.c"):
                assert secret not in refused.text, what


async def test_two_proofs_are_none(world: World, url: str) -> None:
    """RFC 9449, 4.3: there is one header DPoP, and no other."""
    alice = Holder.of(world, "alice")
    proof = alice.proof("GET", NOTES).decode()
    headers = [("Authorization", f"DPoP {alice.token.decode()}"), ("DPoP", proof), ("DPoP", proof)]
    async with httpx.AsyncClient(base_url=url, headers=headers) as http:
        assert (await http.get(NOTES)).status_code == 401


async def test_service_is_held_to_its_own_rules(url: str) -> None:
    """Each secret speaks for one principal; what its rules refuse is refused over HTTP."""
    async with visitor(url, f"{SECRET}-of-alice") as http:
        made = await http.post(NOTES, json={"text": "service"})
        assert (made.status_code, made.json()["_key"] != "") == (201, True)
        other = await http.get("/api/v1/collections/memory_anchors/documents")
        assert (other.status_code, other.json()["code"]) == (403, "permission_denied")
        body = {"query": "FOR n IN notes RETURN n"}
        assert (await http.post("/api/v1/queries", json=body)).status_code == 403


async def test_door_stands_where_the_policy_says(world: World, url: str) -> None:
    """The origin that proofs name is the policy's."""
    assert ORIGIN not in url
    async with visitor(url) as http:
        assert (await http.get("/api/v1/collections")).status_code == 200
