"""The search for an order of calls agrees with trying every order, and knows its bounds."""

from __future__ import annotations

import itertools
import random

import pytest

from mallku_deploy.checking.linearizable import Operation, judge, with_owned_revisions
from mallku_deploy.checking.register import ABSENT, ANYTHING, Part, Register, canonical

ONE, TWO = canonical({"n": 1}), canonical({"n": 2})


def _by_trying(operations: list[Operation], initial: Register) -> bool:
    """Every order of every choice of those that nobody knows of: slow, and plainly right."""
    certain = [one for one in operations if one.end is not None]
    unknown = [one for one in operations if one.end is None]
    return any(
        _explains(order, initial)
        for count in range(len(unknown) + 1)
        for chosen in itertools.combinations(unknown, count)
        for order in itertools.permutations([*certain, *chosen])
    )


def _explains(order: tuple[Operation, ...], initial: Register) -> bool:
    for place, one in enumerate(order):
        if any(later.end is not None and later.end < one.begin for later in order[place + 1 :]):
            return False
    states = [initial]
    for one in order:
        states = [after for state in states for after in one.apply(state)]
    return bool(states)


REVISIONS = (None, "a", "r0", "r1", "r2", "r3")


def _random_part(chance: random.Random, rev: str | None) -> Part:
    """Of an operation that leaves this revision, or one that nobody knows."""
    found = chance.choice(REVISIONS)
    body = chance.choice([None, ONE, TWO])
    match chance.choice(["see", "see", "absent", "insert", "put", "patch", "remove"]):
        case "absent":
            return Part("see", there=False)
        case "see":
            return Part("see", True, found, body)
        case "insert":
            return Part("put", False, new_rev=rev, body=body)
        case "put":
            return Part("put", True, found, new_rev=rev, body=body)
        case "patch":
            return Part("patch", True, new_rev=rev, body=canonical({"m": chance.randrange(2)}))
        case _:
            return Part("remove", chance.choice([True, None]))


def _random_operation(chance: random.Random, number: int) -> Operation:
    begin = chance.randrange(12)
    end = None if chance.random() < 0.2 else begin + chance.randrange(6)
    rev = None if end is None else chance.choice([None, f"r{number}"])
    ways = tuple((_random_part(chance, rev),) for _ in range(chance.choice([1, 1, 1, 2])))
    return Operation(begin, end, ways)


@pytest.mark.parametrize("seed", range(20))
def test_it_agrees_with_trying_every_order(seed: int) -> None:
    """Random histories of up to five operations; for each seed both verdicts occur."""
    chance, seen = random.Random(seed), set[bool | None]()
    for _ in range(150):
        count = chance.randrange(1, 6)
        operations = [_random_operation(chance, number) for number in range(count)]
        initial = chance.choice([ABSENT, ANYTHING, Register(True, "a", ONE)])
        wanted = _by_trying(list(with_owned_revisions(operations, initial)), initial)
        assert judge(operations, initial).linear is wanted, (operations, initial)
        seen.add(wanted)
    assert seen == {True, False}


def test_calls_that_meet_at_one_moment_are_concurrent() -> None:
    """One ends when the other begins: either may have been first."""
    write = Operation(0, 5, ((Part("put", False, new_rev="a"),),))
    read = Operation(5, 6, ((Part("see", there=False),),))
    assert judge([write, read], ABSENT).linear
    later = Operation(6, 7, ((Part("see", there=False),),))
    assert judge([write, later], ABSENT).linear is False


def test_a_revision_that_was_seen_once_holds() -> None:
    """What a write of unknown outcome left has one revision, whoever sees it first."""
    unknown = Operation(0, None, ((Part("put", False, body=ONE),),))
    first = Operation(10, 11, ((Part("see", True, "a", ONE),),))
    same = Operation(12, 13, ((Part("see", True, "a", ONE),),))
    other = Operation(12, 13, ((Part("see", True, "b", ONE),),))
    assert judge([unknown, first, same], ABSENT).linear
    assert judge([unknown, first, other], ABSENT).linear is False


def test_hundreds_of_calls_without_an_outcome_do_not_explode() -> None:
    """What is known to have been of no use is not tried again in every combination."""
    unknown = [
        Operation(number, None, ((Part("put", True, body=canonical({"n": number})),),))
        for number in range(300)
    ]
    reads = [_read(1_000 + number, "a") for number in range(0, 600, 2)]
    seen = _read(2_000, "x", 5)
    later = [_read(2_002 + number, "x", 5) for number in range(0, 600, 2)]
    assert judge([*unknown, *reads, seen, *later], Register(True, "a")).linear
    back = _read(3_000, "a")
    assert judge([*unknown, *reads, seen, *later, back], Register(True, "a")).linear is False


def _read(at: int, rev: str, number: int | None = None) -> Operation:
    body = None if number is None else canonical({"n": number})
    return Operation(at, at + 1, ((Part("see", True, rev, body),),))


def test_a_search_has_its_bound() -> None:
    """Beyond it nothing is claimed, and it says so."""
    operations = [
        Operation(0, 100, ((Part("put", True, new_rev=f"r{number}"),),)) for number in range(12)
    ]
    judgement = judge(operations, Register(True, "a"), max_configurations=1_000)
    assert judgement.linear is None
    assert "too large" in judgement.text


def test_what_cannot_be_is_named() -> None:
    """The call that nothing explains, what could stand there, and what was under way beside it."""
    write = Operation(0, 1, ((Part("put", False, new_rev="a"),),), "the write")
    beside = Operation(2, 9, ((Part("see", True),),), "another read")
    read = Operation(3, 4, ((Part("see", True, "b"),),), "the read")
    text = judge([write, beside, read], ABSENT).text
    assert "the read: by then there could be revision a" in text
    assert "another read" in text
