"""What became of every number: settled in whatever order, covered once, without a gap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.trail.checkpoint import MAX_COVERED, MAX_VOID, record_leaf
from mallku_contracts.trail.merkle import EMPTY_ROOT, root_of
from mallku_workers.audit.numbers import Covered, Numbers

HASH = bytes(range(32))


def settle(numbers: Numbers, number: int, *, void: bool) -> None:
    """Settle a number; its sequence is ten times the number."""
    if void:
        numbers.void(number)
    else:
        numbers.acknowledged(number, number * 10, HASH)


def covers(numbers: Numbers) -> Covered | None:
    """What can be covered, and is from now on."""
    covered = numbers.next()
    if covered is not None:
        assert numbers.next() is covered
        numbers.covered()
    return covered


@given(st.permutations(range(1, 25)), st.sets(st.integers(1, 24)), st.sets(st.integers(0, 24)))
def test_ranges_follow_each_other(order: list[int], void: set[int], ends: set[int]) -> None:
    """However numbers are settled, ranges are contiguous and hold exactly what was settled."""
    numbers, ranges = Numbers(), []
    for _ in order:
        numbers.give()
    for step, number in enumerate(order):
        settle(numbers, number, void=number in void)
        if step in ends and (covered := covers(numbers)) is not None:
            ranges.append(covered)
            waits = next((n for n in range(1, 25) if n not in order[: step + 1]), 25)
            assert covered.last == waits - 1
    while (covered := covers(numbers)) is not None:
        ranges.append(covered)
    assert [r.first for r in ranges] == [1, *(r.last + 1 for r in ranges[:-1])]
    assert (ranges[-1].last, numbers.uncovered) == (24, 0)
    for covered in ranges:
        _check(covered, void)


def _check(covered: Covered, void: set[int]) -> None:
    inside = range(covered.first, covered.last + 1)
    good = [number for number in inside if number not in void]
    assert covered.void == tuple(number for number in inside if number in void)
    assert covered.size == len(good)
    assert covered.root == root_of(record_leaf(n, n * 10, HASH) for n in good)
    assert covered.sequence == max((n * 10 for n in good), default=0)


def test_a_number_that_waits_holds_back_those_behind_it() -> None:
    """While one is tried again nothing behind it is covered."""
    numbers = Numbers()
    for _ in range(3):
        numbers.give()
    settle(numbers, 2, void=False)
    settle(numbers, 3, void=True)
    assert covers(numbers) is None
    settle(numbers, 1, void=False)
    covered = covers(numbers)
    assert covered is not None
    assert (covered.first, covered.last, covered.void) == (1, 3, (3,))
    assert numbers.none() == Covered(4, 3, 0, EMPTY_ROOT, (), 0)


def test_what_was_taken_stays_the_same_while_others_come() -> None:
    """A range that a checkpoint was made of does not grow under it."""
    numbers = Numbers()
    settle(numbers, numbers.give(), void=False)
    first = numbers.next()
    settle(numbers, numbers.give(), void=False)
    assert numbers.next() is first
    assert covers(numbers) is first
    second = covers(numbers)
    assert second is not None
    assert (second.first, second.last) == (2, 2)


def test_room_comes_back_with_a_checkpoint_alone() -> None:
    """Numbers given out count until they are covered, whatever became of them."""
    numbers = Numbers(3)
    for _ in range(3):
        assert numbers.has_room
        settle(numbers, numbers.give(), void=False)
    assert not numbers.has_room
    assert numbers.next() is not None
    assert not numbers.has_room
    numbers.covered()
    assert numbers.has_room


@pytest.mark.parametrize(("void", "most"), [(False, MAX_COVERED), (True, MAX_VOID)])
def test_a_range_is_no_larger_than_a_checkpoint_may_be(void: bool, most: int) -> None:
    """What is more goes into the next one, and is not lost."""
    numbers = Numbers(10**6)
    for _ in range(most + 1):
        settle(numbers, numbers.give(), void=void)
    ranges = [covers(numbers), covers(numbers), covers(numbers)]
    shapes = [(r.first, r.last) for r in ranges if r is not None]
    assert shapes == [(1, most), (most + 1, most + 1)]


def test_memory_does_not_grow_with_records() -> None:
    """Settled in order, a hundred thousand numbers leave less than a page behind."""
    numbers = Numbers(10**6)
    for _ in range(60_000):
        settle(numbers, numbers.give(), void=False)
    assert not numbers._early
    assert len(numbers._tree._peaks) <= 16


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_number_is_settled_once(number: int) -> None:
    """One that was never given out, or is settled already, is a mistake of ours and says so."""
    numbers = Numbers()
    numbers.give()
    numbers.give()
    settle(numbers, 1, void=False)
    with pytest.raises(ValueError, match=f"number {number}"):
        settle(numbers, number, void=True)
