from __future__ import annotations

from contextlib import ExitStack

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
    held: list[tuple[str, ExitStack]] = []
    for step in steps:
        if isinstance(step, int):
            if held:
                held.pop(step % len(held))[1].close()
            continue
        mine = sum(name == step for name, _ in held)
        bound = UNKNOWN_IN_FLIGHT if step == "stranger" else 3
        stack = ExitStack()
        if mine < bound and len(held) < 5:
            stack.enter_context(slots.take(_case(), step))
            held.append((step, stack))
        else:
            with pytest.raises(Busy):
                stack.enter_context(slots.take(_case(), step))
        assert slots.in_flight == len(held)
    for _, stack in held:
        stack.close()
    assert slots.in_flight == 0
    assert slots._taken == {}


def test_a_slot_is_given_back_whatever_happens() -> None:
    """An exception, and even the end of the task, gives the slot back."""
    slots = Slots(1, _limits, 0.1)
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), slots.take(_case(), "a"):
            raise error
        assert slots.in_flight == 0


def test_those_who_are_turned_away_are_counted() -> None:
    """`Busy` says when to come back, and the worker knows how many it told so."""
    slots = Slots(1, _limits, 0.1)
    with slots.take(_case(), "a"):
        for _ in range(3):
            with pytest.raises(Busy) as refusal, slots.take(_case(), "b"):
                pass
            assert refusal.value.retry_after == 0.1
    assert slots.turned_away == 3
