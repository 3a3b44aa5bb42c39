"""What a function is, and what several functions need.

A function's implementation takes the call's surroundings and the arguments; arguments that are not
given are its defaults. It raises `ResourceLimit` and `QueryFailed` and nothing else: a wrong type
is null with a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from mallku_contracts.errors import ResourceLimit
from mallku_contracts.limits import KIB, MIB
from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.values import Number, group_key, is_number, sort_key

MANY: Final = 65_536
"""The most arguments of a function that takes any number of them, count (as ArangoDB's)."""

MAX_KEYS_BYTES: Final = 64 * MIB
"""What one function may make of values to tell them apart or sort them, bytes."""

LOOK_EVERY_BYTES: Final = 64 * KIB
"""Made between two looks at the clock, bytes."""

Implementation: TypeAlias = Callable[..., Any]
"""From a `Call` and the arguments to the result."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function of AQL.

    Attributes:
        call: Takes a `Call`, then `min_args` to `max_args` values.
        deterministic: The same arguments always give the same result, so that a call with constant
            arguments may be worked out once.
    """

    name: str
    min_args: int
    max_args: int
    call: Implementation
    deterministic: bool = True


def named(name: str, implementation: Implementation) -> Implementation:
    """The implementation, which takes the function's own name behind the `Call`."""

    def call(surroundings: Call, *arguments: Any) -> Any:
        return implementation(surroundings, name, *arguments)

    return call


def lists(
    call: Call, name: str, values: Iterable[Any], warn: Callable[[str], None] | None = None
) -> list[list[Any]] | None:
    """The values if each is a list; else None, with a warning, 1542 if `warn` gives no other."""
    found: list[list[Any]] = []
    for value in values:
        if type(value) is not list:
            (warn or call.wrong_type)(name)
            return None
        found.append(value)
    return found


def numbers(call: Call, name: str, values: Any, warning: int | None) -> list[Number] | None:
    """The numbers of a list, nulls left out; None where it holds anything else, with a `warning`.

    What is no list warns in any case.
    """
    if type(values) is not list:
        call.no_array(name)
        return None
    found = [value for value in values if value is not None]
    if all(map(is_number, found)):
        return found
    if warning is not None:
        call.warn(warning, f"in function {name}(): a value is not a number")
    return None


@dataclass(slots=True)
class Steps:
    """Counts the values that a function walks through, at any depth.

    A query can make a small list that holds the same list many times, many times over: walked
    through, it has no end.
    """

    call: Call
    taken: int = 0

    def take(self) -> None:
        """Count one.

        Raises:
            ResourceLimit: There are more than a list may have items.
        """
        self.taken += 1
        self.call.fit_items(self.taken)


@dataclass(slots=True)
class Keys:
    """Makes keys of values, of a bounded size altogether; the clock is looked at on the way."""

    call: Call
    made: int = 0
    looked: int = 0

    def group(self, value: Any) -> Hashable:
        """The same for values that are one in a set."""
        key = group_key(value)
        return self._count(key) if type(key) is bytes else key

    def sort(self, value: Any) -> bytes:
        """In AQL's order."""
        return self._count(sort_key(value))

    def _count(self, key: bytes) -> bytes:
        self.made += len(key)
        if self.made > MAX_KEYS_BYTES:
            raise ResourceLimit(f"keys of more than {MAX_KEYS_BYTES} bytes altogether")
        if self.made - self.looked > LOOK_EVERY_BYTES:
            self.looked = self.made
            self.call.check()
        return key


def bounded(function: Function) -> Function:
    """The function, refusing values that are nested too deeply to be walked through."""

    def call(surroundings: Call, *arguments: Any) -> Any:
        try:
            return function.call(surroundings, *arguments)
        except RecursionError:
            raise ResourceLimit("a value is nested too deeply") from None

    return replace(function, call=call)
