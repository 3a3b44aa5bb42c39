"""What one run of a query has at hand: its values, its clock and its bounds."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from mallku_contracts.aql.tree import Node
from mallku_contracts.errors import InvalidQuery, QueryFailed, ResourceLimit
from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.source import Source
from mallku_workers.stores.embedded.aql.values import to_bool

Row: TypeAlias = list[Any]
"""The variables of a query at one turn of its loops, each in its slot."""

Evaluate: TypeAlias = Callable[[Row], Any]
"""The value of an expression at a row."""

LOOK_EVERY: Final = 32
"""Rows between two looks at the clock, count."""

POINTER_BYTES: Final = 16
"""What a value costs at least in a container, bytes."""

ITEM_BYTES: Final = 2 * POINTER_BYTES
"""What a new item of a list costs on average where nobody looks at it, bytes."""

LARGE: Final = 1_024
"""Items or characters from which on a single value is worth a look, count."""


@dataclass(slots=True)
class Memory:
    """Counts what a query keeps and refuses more than `limit`, bytes (an estimate).

    Attributes:
        passing: What of `used` belongs to the row in hand, and is given back after its turn.

    Raises:
        ResourceLimit: ArangoDB's error 32.
    """

    limit: int
    used: int = 0
    peak: int = 0
    passing: int = 0

    def take(self, amount: int) -> None:
        """Keep so much more."""
        self.used += amount
        if self.used > self.limit:
            raise ResourceLimit(f"the query needs more memory than {self.limit} bytes")
        self.peak = max(self.peak, self.used)

    def keep(self, value: Any) -> int:
        """Keep a value; what it takes, bytes."""
        weight = weigh(value, self.limit - self.used + 1)
        self.take(weight)
        return weight

    def give_back(self, amount: int) -> None:
        """Keep so much less."""
        self.used -= amount

    def lend(self, amount: int) -> None:
        """Keep so much more until the row in hand is done with."""
        self.take(amount)
        self.passing += amount

    def lend_made(self, value: Any) -> None:
        """The same for what a function made: of a large value as much as can be seen at once."""
        kind = type(value)
        if kind is str and len(value) >= LARGE:
            self.lend(text_bytes(value))
        elif kind is list and len(value) >= LARGE:
            self.lend(ITEM_BYTES * len(value))

    def settle(self, passing: int) -> None:
        """Give back what was lent since `passing` was this."""
        self.used -= self.passing - passing
        self.passing = passing

    def in_turn(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows; what is lent for one of them is given back before the next."""
        for row in rows:
            before = self.passing
            yield row
            self.settle(before)


@dataclass(slots=True)
class Held:
    """What one search holds, to be given back as a whole when it is over."""

    memory: Memory
    amount: int = 0

    def take(self, amount: int) -> None:
        """Hold so much more."""
        self.memory.take(amount)
        self.amount += amount

    def give_back(self, amount: int) -> None:
        """Hold so much less."""
        self.memory.give_back(amount)
        self.amount -= amount

    def let_go(self) -> None:
        """Hold nothing any more."""
        self.give_back(self.amount)


@dataclass(slots=True)
class Shares:
    """What some rows take together, where they may hold the same values.

    Every loop hands its outer rows' values on: one that many rows hold is there only once.
    """

    memory: Memory
    weights: dict[int, int] = field(default_factory=dict)
    taken: int = 0

    def keep(self, row: Row, more: int = 0) -> None:
        """Keep a row, and so many bytes with it."""
        weight = POINTER_BYTES * len(row) + more
        for value in row:
            kind = type(value)
            if (kind is dict or kind is list) and id(value) not in self.weights:
                amount = weigh(value, self.memory.limit - self.memory.used + 1)
                self.weights[id(value)] = amount
                weight += amount
            elif kind is str:
                weight += text_bytes(value)
        self._take(weight)

    def _take(self, amount: int) -> None:
        self.memory.take(amount)
        self.taken += amount

    def only(self, rows: Iterable[tuple[Row, int]]) -> None:
        """Let go of all rows but these, which were kept before, with their bytes."""
        known, self.weights = self.weights, {}
        self.let_go()
        for row, more in rows:
            weight = POINTER_BYTES * len(row) + more
            for value in row:
                if type(value) is str:
                    weight += text_bytes(value)
                elif id(value) in known and id(value) not in self.weights:
                    weight += self.weights.setdefault(id(value), known[id(value)])
            self._take(weight)

    def let_go(self) -> None:
        """Let go of everything."""
        self.memory.give_back(self.taken)
        self.taken = 0


def text_bytes(text: str) -> int:
    """What a text takes, bytes."""
    return len(text) if text.isascii() else 4 * len(text)


def key_bytes(key: Hashable) -> int:
    """What a key for grouping or sorting takes, bytes."""
    return POINTER_BYTES + (len(key) if isinstance(key, bytes | str) else 0)


def weigh(value: Any, most: int) -> int:
    """Roughly what a value takes, bytes; where it is more than `most`, not how much more.

    A value may hold the same list many times over: it is walked no further than `most` allows.
    """
    kind = type(value)
    if kind is not dict and kind is not list:
        return POINTER_BYTES + (text_bytes(value) if kind is str else 0)
    weight = POINTER_BYTES
    waiting = [value]
    while waiting and weight <= most:
        here = waiting.pop()
        weight += POINTER_BYTES * len(here)
        if type(here) is dict:
            weight += sum(map(len, here))
            here = here.values()
        for item in here:
            kind = type(item)
            if kind is str:
                # Every value of every document that is kept comes by here: no call for a text.
                weight += len(item) if item.isascii() else 4 * len(item)
            elif kind is dict or kind is list:
                waiting.append(item)
    return weight


@dataclass(slots=True)
class Statistics:
    """What a run did, under ArangoDB's names where it has one.

    Attributes:
        scanned_full: Documents looked at in searches without an index.
        scanned_index: Documents that an index or a key led to.
        filtered: Rows that a FILTER let go.
        full_count: Rows before the last LIMIT, None where nobody asked.
    """

    writes_executed: int = 0
    writes_ignored: int = 0
    scanned_full: int = 0
    scanned_index: int = 0
    filtered: int = 0
    full_count: int | None = None


@dataclass(slots=True)
class Run:
    """One execution of one query.

    Attributes:
        call: What functions may use: warnings, the time, limits.
        full_count: Count the rows before the last LIMIT of the outermost query.
        may_read: Whether documents that no loop names may come from a collection; None for any.
        in_order: The outermost loop gives its documents in the order that its SORT asks for.
        explained: How each loop gets at its documents, for `explain`.
    """

    source: Source
    binds: dict[str, Any]
    call: Call
    memory: Memory
    full_count: bool = False
    may_read: Callable[[str], bool] | None = None
    statistics: Statistics = field(default_factory=Statistics)
    explained: list[dict[str, Any]] = field(default_factory=list)
    in_order: bool = False
    width: int = 0
    _turns: int = 0

    def slot(self) -> int:
        """A new place in every row."""
        self.width += 1
        return self.width - 1

    def new_row(self) -> Row:
        """A row in which nothing is set."""
        return [None] * self.width

    def turn(self) -> None:
        """Count one turn of a loop; now and then look whether it is time to stop."""
        self._turns += 1
        if self._turns % LOOK_EVERY == 0:
            self.source.check()

    def holds(self, condition: Evaluate, row: Row) -> bool:
        """Whether a condition counts as true at a turn; what it made is let go of."""
        self.turn()
        before = self.memory.passing
        value = to_bool(condition(row))
        self.memory.settle(before)
        return value

    def warn(self, code: int, message: str) -> None:
        """Note a warning."""
        self.call.warn(code, message)


def wrong(node: Node, message: str, error_code: int) -> InvalidQuery:
    """The error for what is wrong with a query before it runs, at the place of `node`."""
    return InvalidQuery(
        f"{node.at}: {message}", error_code=error_code, line=node.at.line, column=node.at.column
    )


def failed(node: Node, message: str, error_code: int) -> QueryFailed:
    """The error for what a query meets while it runs."""
    return QueryFailed(
        f"{node.at}: {message}", error_code=error_code, line=node.at.line, column=node.at.column
    )


def is_container(value: Any) -> bool:
    """Whether a value may hold more than can be seen at once."""
    kind = type(value)
    return kind is list or kind is dict or (kind is str and len(value) >= LARGE)


def items(values: Any) -> Sequence[Any]:
    """A list's items; anything else has none."""
    return values if isinstance(values, list) else ()
