"""What AGGREGATE gathers, value by value, in memory that does not grow with the rows where it can.

Source: ArangoDB manual, "COLLECT operation in AQL", Aggregation; and the answers of a real server:
COUNT counts nulls, SUM and AVERAGE skip them and give null for anything that is no number, MIN is
null when the first value is, and passes over later nulls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from mallku_workers.stores.embedded.aql import operators as o
from mallku_workers.stores.embedded.aql.functions import FUNCTIONS
from mallku_workers.stores.embedded.aql.run import Run, is_container, key_bytes


class Aggregator(Protocol):
    """Takes values, gives one."""

    def add(self, value: Any) -> None:
        """Take one more."""
        ...

    def result(self) -> Any:
        """What they amount to."""
        ...


class Count:
    """How many there are, nulls too."""

    def __init__(self, _run: Run) -> None:
        self._count = 0

    def add(self, value: Any) -> None:  # noqa: ARG002 - nulls count too
        """Take one more."""
        self._count += 1

    def result(self) -> int:
        """How many there were."""
        return self._count


class Sum:
    """The sum of the numbers, 0 of nulls alone; null when there was nothing, or something else."""

    def __init__(self, _run: Run) -> None:
        self.sum: Any = 0
        self.count = 0
        self.asked = False
        self.broken = False

    def add(self, value: Any) -> None:
        """Take one more."""
        self.asked = True
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.broken = True
            return
        self.sum += value
        self.count += 1

    def result(self) -> Any:
        """The sum."""
        return None if self.broken or not self.asked else o.finite(self.sum)


class Average(Sum):
    """The mean of the numbers."""

    def result(self) -> Any:
        """The mean."""
        return None if self.broken or not self.count else o.finite(self.sum / self.count)


class Least:
    """The least value; null when the first one is, else nulls do not count."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._value: Any = None
        self._first = True

    def add(self, value: Any) -> None:
        """Take one more."""
        if is_container(value):
            self._run.source.check()
        less = value is not None and o.compare(value, self._value) < 0
        if self._first or less:
            self._value = value
        self._first = False

    def result(self) -> Any:
        """The least one."""
        return self._value


class Greatest:
    """The greatest value."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._value: Any = None

    def add(self, value: Any) -> None:
        """Take one more."""
        if is_container(value):
            self._run.source.check()
        if o.compare(value, self._value) > 0:
            self._value = value

    def result(self) -> Any:
        """The greatest one."""
        return self._value


class Gathered:
    """All values, for functions that need to see them together."""

    def __init__(self, run: Run, name: str) -> None:
        self._run = run
        self._name = name
        self._values: list[Any] = []

    def add(self, value: Any) -> None:
        """Take one more."""
        self._run.memory.keep(value)
        self._values.append(value)

    def result(self) -> Any:
        """What the function of the same name says of their list."""
        self._run.source.check()
        return FUNCTIONS[self._name].call(self._run.call, self._values)


class Spread(Gathered):
    """A variance or deviation of numbers; of anything else it is null, without a warning."""

    def result(self) -> Any:
        """What the function of the same name says."""
        known = all(value is None or o.is_number(value) for value in self._values)
        return super().result() if known else None


class Different:
    """How many different values there are, or which, in order."""

    def __init__(self, run: Run, *, listed: bool, ordered: bool = False) -> None:
        self._run = run
        self._listed = listed
        self._ordered = ordered
        self._values: dict[Any, Any] = {}

    def add(self, value: Any) -> None:
        """Take one more."""
        if is_container(value):
            self._run.source.check()
        key = o.sort_key(value) if self._ordered else o.group_key(value)
        if key not in self._values:
            self._run.memory.take(key_bytes(key))
            self._run.memory.keep(value)
            self._values[key] = value

    def result(self) -> Any:
        """The number or the list."""
        if not self._listed:
            return len(self._values)
        keys = sorted(self._values) if self._ordered else self._values
        return [self._values[key] for key in keys]


class Listed:
    """All values as a list."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._values: list[Any] = []

    def add(self, value: Any) -> None:
        """Take one more."""
        self._run.memory.keep(value)
        self._values.append(value)

    def result(self) -> list[Any]:
        """The list."""
        return self._values.copy()


def _function(name: str, gather: type[Gathered] = Gathered) -> Callable[[Run], Aggregator]:
    return lambda run: gather(run, name)


AGGREGATORS: Final[Mapping[str, Callable[[Run], Aggregator]]] = {
    "COUNT": Count,
    "LENGTH": Count,
    "SUM": Sum,
    "AVERAGE": Average,
    "AVG": Average,
    "MIN": Least,
    "MAX": Greatest,
    **{
        name: _function(function, Spread)
        for name, function in {
            "VARIANCE": "VARIANCE_POPULATION",
            "VARIANCE_POPULATION": "VARIANCE_POPULATION",
            "VARIANCE_SAMPLE": "VARIANCE_SAMPLE",
            "STDDEV": "STDDEV_POPULATION",
            "STDDEV_POPULATION": "STDDEV_POPULATION",
            "STDDEV_SAMPLE": "STDDEV_SAMPLE",
        }.items()
    },
    **{name: _function(name) for name in ("BIT_AND", "BIT_OR", "BIT_XOR")},
    "UNIQUE": lambda run: Different(run, listed=True),
    "SORTED_UNIQUE": lambda run: Different(run, listed=True, ordered=True),
    "COUNT_DISTINCT": lambda run: Different(run, listed=False),
    "COUNT_UNIQUE": lambda run: Different(run, listed=False),
    "PUSH": Listed,
}
"""Every function that AGGREGATE takes, by its name."""
