"""What a rule asks of a document, as one predicate and as one AQL filter that mean the same.

Every comparison is true or false, never unknown, so that `not` can be carried to the leaves and a
tree knows only comparisons, `All` and `AnyOf`. In the text of a filter stand field names of the
policy, quoted, and bind parameters; a value never does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from mallku_contracts.policy.values import (
    Caller,
    FieldPath,
    Variable,
    is_scalar,
    less,
    lookup,
    resolve,
    same,
    varies,
)


class Operator(NamedTuple):
    """How two values are compared: by us, in AQL, and the operator that says the opposite."""

    holds: Callable[[Any, Any], bool]
    aql: str
    opposite: str


def _is_in(value: Any, values: Any) -> bool:
    return any(same(value, item) for item in values)


def _has(array: Any, value: Any) -> bool:
    return isinstance(array, list | tuple) and any(same(item, value) for item in array)


def _begins(text: Any, prefix: str) -> bool:
    return isinstance(text, str) and text.startswith(prefix)


_BEGINS: Final = "IS_STRING({field}) AND STARTS_WITH({field}, {value})"

OPERATORS: Final[Mapping[str, Operator]] = MappingProxyType(
    {
        "==": Operator(same, "{field} == {value}", "!="),
        "!=": Operator(lambda a, b: not same(a, b), "{field} != {value}", "=="),
        "<": Operator(less, "{field} < {value}", ">="),
        "<=": Operator(lambda a, b: not less(b, a), "{field} <= {value}", ">"),
        ">": Operator(lambda a, b: less(b, a), "{field} > {value}", "<="),
        ">=": Operator(lambda a, b: not less(a, b), "{field} >= {value}", "<"),
        "in": Operator(_is_in, "{field} IN {value}", "not_in"),
        "not_in": Operator(lambda a, b: not _is_in(a, b), "{field} NOT IN {value}", "in"),
        "has": Operator(_has, "{value} IN {field}", "has_not"),
        "has_not": Operator(lambda a, b: not _has(a, b), "{value} NOT IN {field}", "has"),
        "prefix": Operator(_begins, _BEGINS, "not_prefix"),
        "not_prefix": Operator(lambda a, b: not _begins(a, b), f"NOT ({_BEGINS})", "prefix"),
    }
)
"""Every comparison by its name in a policy; `exists` is written with `!=` and `==` null."""


class Condition(ABC):
    """A question about one document that is answered by true or false."""

    __slots__ = ()

    @property
    @abstractmethod
    def fields(self) -> frozenset[FieldPath]:
        """The paths of all fields that are looked at."""

    @property
    @abstractmethod
    def variables(self) -> frozenset[Variable]:
        """What has to be put in before a document can be asked."""

    @abstractmethod
    def bind(self, caller: Caller) -> Condition:
        """The same question with the caller's values put in."""

    @abstractmethod
    def matches(self, document: Mapping[str, Any]) -> bool:
        """Whether it holds for a document, given as the store returns it."""

    @abstractmethod
    def opposite(self) -> Condition:
        """The question that holds for exactly the other documents."""

    def to_aql(self, variable: str, prefix: str) -> tuple[str, dict[str, Any]]:
        """An AQL expression over `variable`, and its bind values, named `prefix` and a number."""
        values: dict[str, Any] = {}
        return self._write(variable, prefix, values), values

    @abstractmethod
    def _write(self, variable: str, prefix: str, values: dict[str, Any]) -> str: ...


@dataclass(frozen=True, slots=True)
class Comparison(Condition):
    """One field beside one value; a missing field is null."""

    path: FieldPath
    operator: str
    value: Any

    @property
    def fields(self) -> frozenset[FieldPath]:
        """The one field."""
        return frozenset({self.path})

    @property
    def variables(self) -> frozenset[Variable]:
        """The variables inside the value."""
        return varies(self.value)

    def bind(self, caller: Caller) -> Condition:
        """The comparison with a plain value."""
        if is_scalar(self.value) or not self.variables:
            return self
        return Comparison(self.path, self.operator, resolve(self.value, caller))

    def matches(self, document: Mapping[str, Any]) -> bool:
        """Whether the field of this document compares so."""
        return OPERATORS[self.operator].holds(lookup(document, self.path), self.value)

    def opposite(self) -> Condition:
        """The same field and value under the opposite operator."""
        return Comparison(self.path, OPERATORS[self.operator].opposite, self.value)

    def _write(self, variable: str, prefix: str, values: dict[str, Any]) -> str:
        name = f"{prefix}{len(values)}"
        values[name] = self.value
        field = ".".join((variable, *(f"`{step}`" for step in self.path)))
        return f"({OPERATORS[self.operator].aql.format(field=field, value=f'@{name}')})"


@dataclass(frozen=True, slots=True)
class _Several(Condition):
    parts: tuple[Condition, ...]

    @property
    def fields(self) -> frozenset[FieldPath]:
        """The fields of all parts."""
        return frozenset[FieldPath]().union(*(part.fields for part in self.parts))

    @property
    def variables(self) -> frozenset[Variable]:
        """The variables of all parts."""
        return frozenset[Variable]().union(*(part.variables for part in self.parts))

    def _join(self, word: str, variable: str, prefix: str, values: dict[str, Any]) -> str:
        parts = (part._write(variable, prefix, values) for part in self.parts)  # noqa: SLF001 - one family
        return f"({f' {word} '.join(parts)})"


class All(_Several):
    """Holds when every part does."""

    __slots__ = ()

    def bind(self, caller: Caller) -> Condition:
        """All parts bound."""
        return All(tuple([part.bind(caller) for part in self.parts]))

    def matches(self, document: Mapping[str, Any]) -> bool:
        """Whether every part holds."""
        return all(part.matches(document) for part in self.parts)

    def opposite(self) -> Condition:
        """Any part does not hold."""
        return AnyOf(tuple(part.opposite() for part in self.parts))

    def _write(self, variable: str, prefix: str, values: dict[str, Any]) -> str:
        return self._join("AND", variable, prefix, values)


class AnyOf(_Several):
    """Holds when at least one part does."""

    __slots__ = ()

    def bind(self, caller: Caller) -> Condition:
        """All parts bound."""
        return AnyOf(tuple([part.bind(caller) for part in self.parts]))

    def matches(self, document: Mapping[str, Any]) -> bool:
        """Whether one part holds."""
        return any(part.matches(document) for part in self.parts)

    def opposite(self) -> Condition:
        """No part holds."""
        return All(tuple(part.opposite() for part in self.parts))

    def _write(self, variable: str, prefix: str, values: dict[str, Any]) -> str:
        return self._join("OR", variable, prefix, values)
