"""How workers look to somebody outside: what is read of an answer, and what a table shows of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mallku_contracts.discovery import Question, prove
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from mallku_contracts.keys import SigningKey
from mallku_contracts.tokens import REPLY_AUDIENCE
from mallku_contracts.trust import Trust
from mallku_deploy.events import Event, NotYet, Unwritten, WorkerLost, WorkerReady
from mallku_deploy.targets import Targets, addresses
from mallku_deploy.watching.health import probe
from mallku_deploy.watching.sighting import STATS, NoSighting, Sighting, read_sighting
from mallku_deploy.watching.table import Glance, draw
from tests.support.simulated_caller import ISSUER, ISSUER_KEY, make_token, now_ms

KEY = SigningKey(b"w" * 32)
TRUST = Trust.of(ISSUER, ISSUER_KEY.public)
TOKEN = make_token(KEY, principal="worker-1", audience=REPLY_AUDIENCE)
QUESTION = Question("$SRV.STATS.mallku-gateway", b"nonce")
WELL = {"ready": True, "reasons": [], "parts": {"store": "ok"}}
STATE: dict[str, Any] = {
    "requests": 100,
    "errors": 2,
    "in_flight": 7,
    "slots": 1_024,
    "uptime_s": 7_300.0,
    "lag_s": 0.012,
    "breakers": {"read": "closed", "write": "closed"},
    "audit": {"answers": True, "pending": 0, "uncovered": 3},
    "health": WELL,
}
BODY: dict[str, Any] = {
    "type": STATS,
    "id": "0123456789abcdef",
    "version": "0.1.0",
    "metadata": {"store": "embedded", "durability": "flush", "policy_version": "3"},
    "endpoints": [],
    "worker": STATE,
}
ONE = Sighting("0123456789abcdef", "0.1.0", "worker-1", "", STATE, BODY["metadata"])


def read(body: object, **headers: str) -> Sighting:
    """What is read of an answer with this body, signed by the worker."""
    answer = body if isinstance(body, bytes) else json.dumps(body).encode()
    proof = prove(QUESTION, answer, KEY, TOKEN) | headers
    return read_sighting(QUESTION, answer, proof, TRUST, now_ms() / 1_000)


def drawn(now: Glance, former: Glance | None = None, *, expected: int = 0, width: int = 80) -> str:
    """What a terminal of so many columns shows."""
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(draw(now, former, expected=expected))
    return capture.get()


def test_a_signed_answer_is_believed() -> None:
    """It says who the worker is, by its token, and what it said of itself."""
    one = read(BODY)
    assert (one.principal, one.doubt, one.is_ready) == ("worker-1", "", True)
    assert one.to_json()["in_flight"] == 7


def test_an_unsigned_answer_is_shown_and_not_believed() -> None:
    """Without its signature a worker that says it is ready is not."""
    one = read(BODY, **{"Mallku-Signature": ""})
    assert (one.principal, one.is_ready) == ("", False)
    assert one.reasons[0].startswith("not believed: ")


@pytest.mark.parametrize(
    "body",
    [b"junk", b"[" * 100_000, [], {}, {"type": STATS}, {"type": STATS, "id": 4}, b"x" * 2_000_000],
)
def test_what_is_no_answer_is_passed_over(body: object) -> None:
    """Junk, deep junk, long junk and other services' answers raise the one error for it."""
    with pytest.raises(NoSighting):
        read(body)


@pytest.mark.parametrize("state", [None, [], "x", {"audit": 4, "breakers": [], "health": {}}])
def test_an_odd_state_is_drawn_all_the_same(state: object) -> None:
    """Another version's worker, or a broken one, does not break the table."""
    body = BODY | {"worker": state, "metadata": None, "endpoints": 5}
    assert "worker-1" in drawn(Glance(0.0, (read(body),)))


def test_the_table_fits_and_says_all() -> None:
    """Within 80 columns: who, state, commands a second since the glance before, load and age."""
    later = replace(ONE, state=STATE | {"requests": 350})
    shown = drawn(Glance(12.0, (later,)), Glance(10.0, (ONE,)))
    assert all(len(line.rstrip()) <= 80 for line in shown.splitlines())
    for word in (
        "worker-1",
        "01234567",
        "ready",
        " 125 ",
        "closed",
        "ok",
        "12 ms",
        "2 h",
        "policy 3",
    ):
        assert word in shown


def test_what_is_wrong_stands_below() -> None:
    """An open breaker, a silent trail, reasons, and workers that are missing."""
    health = {"ready": False, "reasons": ["store: the breaker of write is open"]}
    state = STATE | {
        "breakers": {"read": "closed", "write": "open"},
        "audit": {"answers": False, "pending": 12},
        "health": health,
    }
    shown = drawn(Glance(0.0, (replace(ONE, state=state),)), expected=2)
    for words in (
        "not ready",
        "write open",
        "silent 12",
        "the breaker of write",
        "1 of 2 workers",
    ):
        assert words in shown
    assert "no worker answers" in drawn(Glance(0.0, ()))


@pytest.mark.parametrize("width", [80, 120])
def test_the_worst_of_days_fits_too(width: int) -> None:
    """A long name and all that can be wrong at once: no number and no state is cut."""
    state = STATE | {
        "errors": 123_456,
        "in_flight": 256,
        "breakers": {"writes": "half-open", "admin": "open"},
        "audit": {"answers": False, "pending": 65_536},
        "lag_s": 1.234,
        "uptime_s": 1e6,
        "health": {"ready": False, "reasons": []},
    }
    worst = replace(ONE, state=state, principal="mallku-prod-worker-eu-west-1")
    shown = drawn(Glance(0.0, (worst,)), width=width)
    assert all(len(line.rstrip()) <= width for line in shown.splitlines())
    wanted = ("mallku", "not ready", "256", "123k", "half,", "12 d", "silent 65536", "1234 ms")
    assert [words for words in wanted if words not in shown] == []


def test_workers_that_differ_are_seen() -> None:
    """Two policies in force at once stand in the title."""
    other = replace(ONE, metadata={**ONE.metadata, "policy_version": "4"})
    assert "policy 3 | 4" in drawn(Glance(0.0, (ONE, other)))


def test_a_restarted_worker_has_no_rate() -> None:
    """Another instance in the same place did not do what the former one did."""
    glance = Glance(2.0, (replace(ONE, instance="another"),))
    assert glance.rate(glance.sightings[0], Glance(1.0, (ONE,))) is None


def test_targets_follow_the_workers(tmp_path: Path) -> None:
    """Who is ready stands in the file, who is lost does not, and everything is passed on."""
    told: list[Event] = []
    path = tmp_path / "prometheus.json"
    targets = Targets(path, told.append)
    targets(WorkerReady("worker-2", "b", 2, "127.0.0.1:2"))
    targets(WorkerReady("worker-1", "a", 1, "127.0.0.1:1"))
    targets(WorkerReady("worker-3", "c", 3))
    assert addresses(path) == ["127.0.0.1:1", "127.0.0.1:2"]
    targets(WorkerLost("worker-1", 1, "ended", 0.1))
    targets(NotYet("x", "y", 1.0))
    assert json.loads(path.read_text()) == [
        {"targets": ["127.0.0.1:2"], "labels": {"worker": "worker-2"}}
    ]
    assert len(told) == 5


def test_a_file_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    """It is said, and the event goes on to whoever else is told."""
    told: list[Event] = []
    targets = Targets(tmp_path / "none" / "prometheus.json", told.append)
    targets(WorkerReady("worker-1", "a", 1, "127.0.0.1:1"))
    assert [type(event) for event in told] == [Unwritten, WorkerReady]


@pytest.mark.parametrize("text", ["", "junk", "{}", "[{}]", '[{"targets": []}]'])
def test_a_broken_file_names_nobody(tmp_path: Path, text: str) -> None:
    """Whatever stands there, reading it raises nothing."""
    path = tmp_path / "prometheus.json"
    path.write_text(text)
    assert addresses(path) == []


def test_a_probe_of_nobody_is_a_coded_error() -> None:
    """Nobody there, and what is no address, are told apart."""
    with pytest.raises(GatewayUnreachable):
        probe("127.0.0.1:1", as_json=False)
    for address in ("nonsense", "ftp://127.0.0.1:1", "http://127.0.0.1", "127.0.0.1:x"):
        with pytest.raises(ConfigurationError):
            probe(address, as_json=False)
