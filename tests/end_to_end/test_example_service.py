"""A service in Mallku's style works unchanged, on a gateway of its own and on one that is there."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.end_to_end.conftest import EVENT_S, READY_S, Up, clean_environment, end, until

EXAMPLES = Path(__file__).resolve().parents[2] / "docs/examples"
KEYS = [f"0000000{number}-0000-4000-8000-000000000000" for number in range(3)]
ROWS: dict[str, list[Any]] = {
    "newest": ["Mountain 2", "Mountain 1", "Mountain 0"],
    "page": [KEYS[2], KEYS[1]],
    "either": KEYS,
    "listed": KEYS,
    "words": ["Mountain 0", "Mountain 1", "Mountain 2"],
    "counted": [{"kind": "khipu", "n": 3}],
    "summed": [{"n": 3, "mean": "same"}],
    "inner": [3],
    "first": [KEYS[0]],
    "tagged": [KEYS[1]],
    "joined": [f"{KEYS[0]}:{KEYS[1]}", f"{KEYS[0]}:{KEYS[2]}", f"{KEYS[1]}:{KEYS[2]}"],
    "dated": ["2023-11-14T22:13:20.000Z"],
    "texts": ["khipu"],
}


@contextmanager
def _service(folder: Path, environment: dict[str, str]) -> Generator[httpx.Client]:
    command = [sys.executable, "-m", "uvicorn", "fire_circle.app:app", "--port", "0"]
    log = folder / "service.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--app-dir", str(EXAMPLES)],
            stdout=out,
            stderr=out,
            env=clean_environment() | environment,
        )
    try:
        address = re.compile(r"Uvicorn running on (\S+)")
        until(
            f"the service runs; it said: {log.read_text()}",
            lambda: bool(address.search(log.read_text())) or process.poll() is not None,
            READY_S,
        )
        found = address.search(log.read_text())
        assert found is not None, log.read_text()
        with httpx.Client(base_url=found[1], timeout=EVENT_S) as client:
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(EVENT_S)


@pytest.fixture(scope="module", params=["a gateway of its own", "one that is there"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """The service with three anchors, started in both ways."""
    folder = tmp_path_factory.mktemp("service")
    if request.param == "a gateway of its own":
        with _service(folder, {"MALLKU_DEV_MODE": "true"}) as client:
            yield _with_anchors(client)
        return
    up = Up.start(folder / "up")
    try:
        up.ready()
        url = re.search(r"MALLKU_API_GATEWAY_URL=(\S+)", up.env_file.read_text())
        assert url is not None
        two = {
            "MALLKU_API_GATEWAY_URL": url[1].strip("'"),
            "MALLKU_CREDENTIALS": str(up.house / "principals/mallku"),
        }
        with _service(folder, two) as client:
            yield _with_anchors(client)
    finally:
        end(up)


def _with_anchors(client: httpx.Client) -> httpx.Client:
    for number, key in enumerate(KEYS):
        anchor = {
            "anchor_id": key,
            "text": f"Mountain {number}",
            "strength": 0.3 + number / 10,
            "tags": ["a", "b"] if number == 1 else ["b"],
            "timestamp": f"2026-01-0{number + 1}T00:00:00Z",
        }
        for _ in range(2):  # one that is repeated is no conflict
            assert client.post("/anchors", json=anchor).json() == {"key": key}
    return client


def test_every_value_comes_back_as_json_has_it(service: httpx.Client) -> None:
    """UUID, enum, decimal, path, set, tuple and time; what is missing is None."""
    found = service.get(f"/anchors/{KEYS[1]}").json()
    assert found.pop("_rev")
    assert sorted(found.pop("tags")) == ["a", "b"]
    assert found == {
        "_key": KEYS[1],
        "_id": f"memory_anchors/{KEYS[1]}",
        "anchor_id": KEYS[1],
        "kind": "khipu",
        "text": "Mountain 1",
        "strength": 0.4,
        "cost": "1.50",
        "source": "notes/first.md",
        "place": [0.0, 0.0],
        "timestamp": "2026-01-02T00:00:00+00:00",
    }
    assert service.get("/anchors/none").status_code == 404


@pytest.mark.parametrize("name", ROWS)
def test_a_query_answers_what_it_asks(service: httpx.Client, name: str) -> None:
    """Each kind of query that Mallku writes, from a thread of the service's pool."""
    rows = service.get(f"/patterns/{name}").json()
    assert sorted(rows, key=str) == sorted(ROWS[name], key=str)
    if name in {"newest", "page"}:
        assert rows == ROWS[name]


def test_documents_are_counted_found_and_loaded(service: httpx.Client) -> None:
    """Blocking calls inside `async def`, and a start-up scan over all pages."""
    assert service.get("/anchors").json() == {
        "count": 3,
        "first": KEYS[:2],
        "khipu": 3,
        "loaded": 3,
    }


def test_a_document_is_changed_and_removed(service: httpx.Client) -> None:
    """Both ways to say an update; what is removed is gone."""
    key = "99999999-0000-4000-8000-000000000000"
    service.post("/anchors", json={"anchor_id": key, "text": "passing", "strength": 0.5})
    changed = service.patch(f"/anchors/{key}", params={"by": 0.25}).json()
    assert (changed["strength"], changed["touched"]) == (0.75, True)
    assert service.delete(f"/anchors/{key}").json() == {"gone": True}


@pytest.mark.parametrize("number", range(2))
def test_a_circle_is_held(service: httpx.Client, number: int) -> None:
    """Seven voices at the same moment, an edge, a traversal, and a moment nobody waits for."""
    held = service.post(f"/circles/session-{number}").json()
    assert held == {"rounds": 14, "voices": 7, "walked": 1}


def test_a_secured_collection_takes_models_alone(service: httpx.Client) -> None:
    """In by a model, out by a model and by a query on its own field names; no way around."""
    kept = service.put("/balances", json={"id": "b1", "participant": "ana", "amount": 2}).json()
    assert (kept["key"], kept["amount"]) == ("b1", 3)
    (row,) = kept["over"]
    assert (row["participant"], row["amount"]) == ("ana", 3)
    around = service.get("/around").json()
    assert around["refused"].startswith("Direct access to insert is not allowed")
    assert (around["violations"], around["secured"]) == (1, True)
    assert 0 <= around["score"] < 1


def test_what_callers_read_off_the_database_is_there(service: httpx.Client) -> None:
    """Items that are names and maps, `_database`, and the attributes."""
    found = service.get("/database").json()
    assert found["collections"] == found["by_item"]
    assert "memory_anchors" in found["collections"]
    assert found["plain_count"] == 3
    assert found["operations"] is True
    assert "reciprocity_balances_secured" in found["policies"]


@pytest.mark.parametrize(
    "words",
    [
        'x") REMOVE a IN memory_anchors //',
        'x") RETURN 1 //',
        'x") FOR l IN mallku_ledger RETURN l //',
        '"',
    ],
)
def test_what_is_injected_into_a_text_can_do_no_more_than_its_caller(
    service: httpx.Client, words: str
) -> None:
    """The gateway's own collections are out of reach, and a broken text is an error."""
    assert service.get("/search", params={"words": "Mountain"}).json() == ROWS["words"]
    found = service.get("/search", params={"words": words}).json()
    assert set(found) <= {*ROWS["words"], 1}
    assert service.get("/search", params={"words": "Mountain"}).json() == ROWS["words"]
