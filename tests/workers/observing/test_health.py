from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mallku_workers.observing.health import (
    FIT_LAG_S,
    MAX_USUAL_LAG_S,
    Part,
    Signs,
    judge,
    own_fault,
)

WELL = Signs(policy=3, breakers={"read": "closed", "write": "closed"}, apart_ms=5.0)


def test_a_worker_that_is_well_is_ready() -> None:
    """With everything in place it has started, is ready, and there is nothing to say."""
    health = judge(WELL)
    assert (health.started, health.ready, health.reasons) == (True, True, ())
    assert {one.part for one in health.conditions} == set(Part)
    assert not own_fault(WELL, away=False)


@pytest.mark.parametrize(
    ("changes", "part", "says"),
    [
        ({"down": ("bus",)}, "broker", "bus is not connected"),
        ({"trail_answers": False}, "audit", "does not acknowledge"),
        ({"trail_has_room": False}, "audit", "too many records"),
        ({"breakers": {"read": "closed", "write": "open"}}, "store", "breaker of write is open"),
        ({"breakers": {"read": "half-open"}}, "store", "breaker of read is half-open"),
        ({"policy": None}, "policy", "no policy"),
        ({"apart_ms": -31_000.0}, "clock", "-31.0 s from the broker's clock"),
        ({"lag_s": 1.5}, "loop", "1.50 s late"),
    ],
)
def test_each_part_alone_makes_it_unready(changes: dict[str, Any], part: str, says: str) -> None:
    """It has started all the same, and the reason names the part and what is wrong with it."""
    health = judge(replace(WELL, **changes))
    assert (health.started, health.ready) == (True, False)
    [reason] = health.reasons
    assert reason.startswith(f"{part}: ")
    assert says in reason
    assert health.to_json()["parts"][part] != "ok"


def test_starting_is_neither_started_nor_ready() -> None:
    """Before it serves it says at what it is, and judges nothing that is not there yet."""
    health = judge(Signs(stage="opening the store"))
    assert (health.started, health.ready) == (False, False)
    assert health.reasons == ("starting: opening the store",)


def test_who_drains_is_not_ready() -> None:
    """A worker that takes nothing new is started, unready, and says why first."""
    health = judge(replace(WELL, draining=True, down=("bus",)))
    assert not health.ready
    assert health.reasons[0].startswith("draining")
    assert len(health.reasons) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"down": ("bus", "records")},
        {"trail_answers": False, "trail_has_room": False},
        {"breakers": {"read": "open", "write": "open"}},
        {"apart_ms": 90_000.0},
        {"jumped_ms": 90_000.0, "apart_ms": 1.0},
        {"jumped_ms": 90_000.0, "apart_ms": None},
        {"lag_s": MAX_USUAL_LAG_S - 0.01},
    ],
)
def test_what_is_away_for_everybody_sends_nobody_away(changes: dict[str, Any]) -> None:
    """Broker, trail and store, and a clock that may as well be the broker's, are no own fault."""
    assert not own_fault(replace(WELL, **changes), away=False)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"policy": None}, "no policy"),
        ({"jumped_ms": -45_000.0, "apart_ms": -45_000.0}, "-45.0 s away"),
        ({"lag_s": MAX_USUAL_LAG_S}, "late"),
    ],
)
def test_an_own_fault_is_named(changes: dict[str, Any], says: str) -> None:
    """Without policy, with a clock that jumped, or a loop that is late, others do better."""
    assert says in own_fault(replace(WELL, **changes), away=False)


def test_who_left_comes_back_when_it_is_fit() -> None:
    """A worker on the edge does not come and go: it has to be much better than when it left."""
    on_edge = replace(WELL, lag_s=MAX_USUAL_LAG_S - 0.01)
    assert not own_fault(on_edge, away=False)
    assert own_fault(on_edge, away=True)
    assert not own_fault(replace(WELL, lag_s=FIT_LAG_S - 0.01), away=True)
