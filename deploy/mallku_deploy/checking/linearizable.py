"""Whether some order of concurrent operations on one document explains all that was told of them.

Wing and Gong, "Testing and Verifying Concurrent Objects" (1993), in the shape of Lowe's "Testing
for Linearizability" (2017): just-in-time linearization. The events are taken in the order of time,
and all configurations are kept that explain them so far: a state of the register, and which of the
operations under way have had their effect. An operation is linearized at the latest when it
returns, together with those that have to be before it; configurations that were met before are not
looked at again. An operation whose outcome nobody knows never returns: it may have its effect at
any time after it began, or never. Of two configurations that differ in those alone, the one that
used fewer of them can do whatever the other can, and is kept.

Two facts keep the search small. An operation that fits and changes nothing needs nothing before it:
what could come first can as well come later. And a revision is made once: what one operation is
known to have left, no other one did, so that whoever has to find it needs none of those of unknown
outcome in between.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from mallku_deploy.checking.register import Part, Register

MAX_CONFIGURATIONS: Final = 1_000_000
"""Configurations that are looked at for one document before the search is given up."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What one call did to one document.

    Attributes:
        begin: When it was sent, microseconds.
        end: When its caller was told that it was done; None where nobody was told.
        ways: What it may have done, each a sequence of parts that happen at once.
        label: For people.
    """

    begin: int
    end: int | None
    ways: tuple[tuple[Part, ...], ...]
    label: str = ""

    def apply(self, state: Register) -> list[Register]:
        """The states that it may leave; none where it cannot have happened in this one."""
        found = [end for way in self.ways if (end := _through(way, state)) is not None]
        return list(dict.fromkeys(found))

    def is_made_of(self, state: Register) -> bool:
        """Whether it has to find the revision that stands here, and that never comes back."""
        first = self.ways[0][0]
        return len(self.ways) == 1 and first.owned and first.rev == state.rev


class Judgement(NamedTuple):
    """`linear` is None where the search was given up; `text` says why, or what cannot be."""

    linear: bool | None
    text: str = ""


class _Configuration(NamedTuple):
    """A state, the operations under way that had their effect, and of unknown ones likewise."""

    state: Register
    done: frozenset[int]
    used: frozenset[int]


def judge(
    operations: Sequence[Operation],
    initial: Register,
    *,
    max_configurations: int = MAX_CONFIGURATIONS,
) -> Judgement:
    """Whether the operations can be put into an order that explains them."""
    return _Search(operations, initial, max_configurations).run()


class _TooManyError(Exception):
    """The search was given up."""


class _Search:
    def __init__(
        self, operations: Sequence[Operation], initial: Register, max_configurations: int
    ) -> None:
        self._operations = with_owned_revisions(operations, initial)
        self._left = max_configurations
        self._configurations = [_Configuration(initial, frozenset(), frozenset())]
        self._open: set[int] = set()

    def run(self) -> Judgement:
        try:
            for _, returns, index in sorted(self._events()):
                if not returns:
                    self._open.add(index)
                    continue
                explained = self._linearize(index)
                if not explained:
                    return Judgement(linear=False, text=self._explain(index))
                self._open.discard(index)
                self._configurations = explained
        except _TooManyError:
            return Judgement(linear=None, text="the search was too large and was given up")
        return Judgement(linear=True)

    def _events(self) -> Iterable[tuple[int, bool, int]]:
        """Begin and end of each; at the same moment begins come first, which allows more orders."""
        for index, operation in enumerate(self._operations):
            yield (operation.begin, False, index)
            if operation.end is not None:
                yield (operation.end, True, index)

    def _linearize(self, index: int) -> list[_Configuration]:
        """All configurations in which this operation, which returns now, had its effect."""
        kept, waiting = _Kept(), _Waiting()
        for former in self._configurations:
            if index in former.done:
                kept.add(former._replace(done=former.done - {index}))
            else:
                waiting.add(former)
        target = self._operations[index]
        while (one := waiting.next()) is not None:
            states = set[Register]()
            for after in self._step(one, index):
                kept.add(after._replace(done=after.done - {index}))
                states.add(after.state)
            if states == {one.state}:
                continue
            others = self._open - one.done - one.used - {index}
            if target.is_made_of(one.state):
                others = {other for other in others if self._operations[other].end is not None}
            for other in others:
                for after in self._step(one, other):
                    waiting.add(after)
        return kept.all()

    def _step(self, one: _Configuration, index: int) -> Iterable[_Configuration]:
        self._left -= 1
        if self._left < 0:
            raise _TooManyError
        operation = self._operations[index]
        for state in operation.apply(one.state):
            if operation.end is not None:
                yield _Configuration(state, one.done | {index}, one.used)
            elif state != one.state:  # what nobody knows of and changes nothing needs no place
                yield _Configuration(state, one.done, one.used | {index})

    def _explain(self, index: int) -> str:
        states = sorted({str(one.state) for one in self._configurations})
        others = [self._operations[other].label for other in sorted(self._open - {index})]
        beside = f"; beside it: {'; '.join(others[:8])}" if others else ""
        return (
            f"{self._operations[index].label}: by then there could be "
            f"{' or '.join(states[:8])}{beside}"
        )


def with_owned_revisions(operations: Sequence[Operation], initial: Register) -> Sequence[Operation]:
    """The operations, with every revision marked of which it is known who made it."""
    parts = [part for one in operations for way in one.ways for part in way]
    owned = {part.new_rev for part in parts if part.new_rev is not None} | {initial.rev}

    def marked(way: tuple[Part, ...]) -> tuple[Part, ...]:
        return tuple(
            replace(part, owned=True) if part.rev is not None and part.rev in owned else part
            for part in way
        )

    return [replace(one, ways=tuple(map(marked, one.ways))) for one in operations]


class _Waiting:
    """Configurations to be looked at, those first that used the fewest unknown operations."""

    def __init__(self) -> None:
        self._seen = _Kept()
        self._heap: list[tuple[int, int, _Configuration]] = []
        self._count = itertools.count()

    def add(self, one: _Configuration) -> None:
        """Look at it later, unless another one was seen that can stand for it."""
        if self._seen.add(one):
            heapq.heappush(self._heap, (len(one.used), next(self._count), one))

    def next(self) -> _Configuration | None:
        """The next one; None when all were looked at."""
        return heapq.heappop(self._heap)[2] if self._heap else None


class _Kept:
    """Configurations, without those that another one can stand for."""

    def __init__(self) -> None:
        self._used: dict[tuple[Register, frozenset[int]], list[frozenset[int]]] = {}

    def add(self, one: _Configuration) -> bool:
        """Keep it, unless one is kept already that used no other unknown operations."""
        known = self._used.setdefault((one.state, one.done), [])
        if any(used <= one.used for used in known):
            return False
        known[:] = [used for used in known if not one.used <= used]
        known.append(one.used)
        return True

    def all(self) -> list[_Configuration]:
        return [
            _Configuration(state, done, used)
            for (state, done), several in self._used.items()
            for used in several
        ]


def _through(way: Iterable[Part], state: Register) -> Register | None:
    after: Register | None = state
    for part in way:
        if after is None:
            return None
        after = part.apply(after)
    return after
