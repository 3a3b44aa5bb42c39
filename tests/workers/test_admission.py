from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.errors import Busy
from mallku_contracts.policy import Limits
from mallku_workers.admission import UNKNOWN_IN_FLIGHT, Slots
from mallku_workers.message import Case, Message

NAMES = ("a", "b", "stranger")


def _limits(principal: str) -> Limits | None:
    return None if principal == "stranger" else Limits(in_flight=3)


def _case() -> Case:
    return Case(Message("", "", b"", 0, 0.0))


@given(st.lists(st.one_of(st.sampled_from(NAMES), st.integers(0, 20)), max_size=60))
def test_slots_never_leak(steps: list[str | int]) -> None:
    """However commands come and go, the bounds hold and in the end nothing is left.

    What is given back can be taken again, by the same principal and by others.
    """
    slots = Slots(5, _limits, 0.1)
    held: list[tuple[str, Case]] = []
    for step in steps:
        if isinstance(step, int):
            if held:
                slots.give_back(held.pop(step % len(held))[1])
            continue
        mine = sum(name == step for name, _ in held)
        bound = UNKNOWN_IN_FLIGHT if step == "stranger" else 3
        case = _case()
        if mine < bound and len(held) < 5:
            slots.take(case, step)
            held.append((step, case))
        else:
            with pytest.raises(Busy):
                slots.take(case, step)
        assert slots.in_flight == len(held)
    for _, case in held:
        slots.give_back(case)
    assert slots.in_flight == 0
    assert slots._taken == {}


def test_a_slot_is_given_back_once() -> None:
    """Who holds none gives none back, and nobody gives one back twice."""
    slots = Slots(2, _limits, 0.1)
    first, second, idle = _case(), _case(), _case()
    slots.take(first, "a")
    slots.take(second, "a")
    for case in (first, first, idle):
        slots.give_back(case)
    assert slots.in_flight == 1
    assert slots._taken == {"a": 1}


def test_those_who_are_turned_away_are_counted() -> None:
    """`Busy` says when to come back, and the worker knows how many it told so."""
    slots = Slots(1, _limits, 0.1)
    slots.take(_case(), "a")
    for _ in range(3):
        with pytest.raises(Busy) as refusal:
            slots.take(_case(), "b")
        assert refusal.value.retry_after == 0.1
    assert slots.turned_away == 3
