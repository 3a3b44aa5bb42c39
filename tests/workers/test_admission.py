from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.errors import Busy, MessageTooLarge
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.policy import Limits
from mallku_workers.admission import MAX_PACES, UNKNOWN_IN_FLIGHT, Slots
from mallku_workers.message import Case, Message

NAMES = ("a", "b", "stranger")
TOTAL = 7
LIMITS = Limits.model_validate(
    {"in_flight": 3, "payload_bytes": 2_048, "write": {"in_flight": 2, "payload_bytes": 1_024}}
)


def _limits(principal: str) -> Limits | None:
    return None if principal == "stranger" else LIMITS


def _case(operation: str = "get", size: int = 0) -> Case:
    case = Case(Message("", "", b"x" * size, 0, 0.0))
    case.operation = OPERATIONS[operation]
    return case


@given(st.lists(st.one_of(st.sampled_from(NAMES), st.integers(0, 20)), max_size=60))
def test_slots_never_leak(steps: list[str | int]) -> None:
    """However commands come and go, the bounds hold and in the end nothing is left.

    What is given back can be taken again, by the same principal and by others.
    """
    slots = Slots(TOTAL, _limits, 0.1)
    held: list[tuple[str, Case]] = []
    for step in steps:
        if isinstance(step, int):
            if held:
                slots.give_back(held.pop(step % len(held))[1])
            continue
        mine = sum(name == step for name, _ in held)
        bound = UNKNOWN_IN_FLIGHT if step == "stranger" else 3
        case = _case()
        if mine < bound and mine < TOTAL - len(held):
            slots.take(case, step)
            held.append((step, case))
        else:
            with pytest.raises(Busy):
                slots.take(case, step)
        assert slots.in_flight == len(held)
    for _, case in held:
        slots.give_back(case)
    assert slots.in_flight == 0
    assert (slots._taken, slots._held) == ({}, {})


@given(greedy=st.integers(1, 6), total=st.integers(8, 200))
def test_however_many_are_greedy_the_next_one_finds_a_slot(greedy: int, total: int) -> None:
    """Principals that take all they can get leave room for one who comes after them."""
    slots = Slots(total, lambda _: Limits(in_flight=100_000), 0.1)
    taken: Counter[str] = Counter()
    for _ in range(2 * total):
        for number in range(greedy):
            name = f"greedy-{number}"
            try:
                slots.take(_case(), name)
            except Busy:
                continue
            taken[name] += 1
    slots.take(_case(), "bystander")
    assert max(taken.values()) - min(taken.values()) <= 1
    assert max(taken.values()) >= total // (greedy + 1)


def test_a_class_with_a_bound_of_its_own_is_counted_apart() -> None:
    """Writes have two slots of their own beside the three that the other classes share."""
    slots = Slots(100, _limits, 0.1)
    for operation in ("insert", "delete", "get", "find", "create-collection"):
        slots.take(_case(operation), "a")
    for operation in ("update", "count", "drop-collection"):
        with pytest.raises(Busy):
            slots.take(_case(operation), "a")


def test_a_large_command_is_refused_unread() -> None:
    """A message may have as many bytes as its class of operations, and holds no slot otherwise."""
    slots = Slots(100, _limits, 0.1)
    slots.take(_case("get", 2_048), "a")
    slots.take(_case("insert", 1_024), "a")
    for operation, size in (("get", 2_049), ("insert", 1_025)):
        with pytest.raises(MessageTooLarge):
            slots.take(_case(operation, size), "a")
    assert slots.in_flight == 2


def test_a_slot_is_given_back_once() -> None:
    """Who holds none gives none back, and nobody gives one back twice."""
    slots = Slots(4, _limits, 0.1)
    first, second, idle = _case(), _case(), _case()
    slots.take(first, "a")
    slots.take(second, "a")
    for case in (first, first, idle):
        slots.give_back(case)
    assert slots.in_flight == 1
    assert slots._held == {"a": 1}


def test_those_who_are_turned_away_are_counted() -> None:
    """`Busy` says when to come back, and the worker knows how many it told so."""
    slots = Slots(1, _limits, 0.1)
    slots.take(_case(), "a")
    for _ in range(3):
        with pytest.raises(Busy) as refusal:
            slots.take(_case(), "b")
        assert refusal.value.retry_after == 0.1
    assert slots.turned_away == 3


def test_the_advice_follows_the_measured_pace() -> None:
    """Each principal hears how fast its own slots become free, and not a constant.

    Forty commands a second of one, ten of the other; who is turned away twice is told a later time.
    """
    now = 100.0
    slots = Slots(100, lambda _: Limits(in_flight=4), 9.0, lambda: now)
    for tick in range(400):
        now += 1 / 40
        for name in ("quick", "slow") if tick % 4 == 0 else ("quick",):
            case = _case()
            slots.take(case, name)
            slots.give_back(case)
    for _ in range(4):
        slots.take(_case(), "quick")
        slots.take(_case(), "slow")
    waits: dict[str, list[float]] = {"quick": [], "slow": []}
    for name in ("quick", "slow") * 2:
        with pytest.raises(Busy) as refusal:
            slots.take(_case(), name)
        waits[name].append(refusal.value.retry_after or 0.0)
    assert waits["quick"] == pytest.approx([1 / 40, 2 / 40], rel=0.25)
    assert waits["slow"] == pytest.approx([1 / 10, 2 / 10], rel=0.25)


def test_paces_are_bounded_in_number() -> None:
    """However many principals come, few are remembered."""
    slots = Slots(10, lambda _: None, 0.1)
    for number in range(MAX_PACES + 50):
        case = _case()
        slots.take(case, f"p{number}")
        slots.give_back(case)
    assert len(slots._paces) == MAX_PACES
