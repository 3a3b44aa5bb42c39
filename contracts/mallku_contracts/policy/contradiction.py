"""Conditions that no document can meet, found before anybody relies on them.

What is called impossible is impossible; what is not may still be. Every field is looked at for
itself: whether `a` and `a.b` can both be what they should be is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, product
from typing import Any, Final

from mallku_contracts.policy.condition import OPERATORS, All, AnyOf, Comparison, Condition
from mallku_contracts.policy.values import (
    MAX_WHOLE_NUMBER,
    Caller,
    FieldPath,
    Variable,
    is_scalar,
    less,
    same,
)

MAX_SAMPLE_CALLERS: Final = 256
"""Callers that a condition with variables is tried with; what needs more counts as possible."""

_NOBODY: Final = "\x00nobody"
_KIND_OF_VALUE: Final = frozenset({"<", "<=", ">", ">=", "has", "has_not", "prefix", "not_prefix"})


def is_impossible(condition: Condition) -> bool:
    """Whether it is certain that no document meets the condition, whoever asks and whenever."""
    callers = list(islice(_sample_callers(condition), MAX_SAMPLE_CALLERS + 1))
    if len(callers) > MAX_SAMPLE_CALLERS:
        return False
    return all(_never(condition.bind(caller), ()) for caller in callers)


def is_idle(condition: Condition) -> bool:
    """Whether it is certain that every document meets the condition."""
    return is_impossible(condition.opposite())


def _never(condition: Condition, given: Sequence[Comparison]) -> bool:
    comparisons, choices = _split(condition)
    together = [*given, *comparisons]
    if any(not _possible(group) for group in _by_field(together).values()):
        return True
    return any(all(_never(part, together) for part in choice.parts) for choice in choices)


def _split(condition: Condition) -> tuple[list[Comparison], list[AnyOf]]:
    match condition:
        case Comparison():
            return [condition], []
        case AnyOf():
            return [], [condition]
        case All():
            found = [_split(part) for part in condition.parts]
            return [c for part, _ in found for c in part], [c for _, part in found for c in part]
        case _:
            return [], []


def _by_field(comparisons: Iterable[Comparison]) -> dict[FieldPath, list[Comparison]]:
    groups: dict[FieldPath, list[Comparison]] = {}
    for comparison in comparisons:
        groups.setdefault(comparison.path, []).append(comparison)
    return groups


def _possible(group: list[Comparison]) -> bool:
    """Whether some value may meet all comparisons of one field."""
    listed = _listed(group)
    if listed is not None:
        return any(all(_holds(comparison, value) for comparison in group) for value in listed)
    example = _example(group)
    if example is not None:
        return all(_holds(c, example) for c in group if c.operator in _KIND_OF_VALUE)
    return not _empty_range(group)


def _listed(group: list[Comparison]) -> list[Any] | None:
    """All values that can come into question, when they can be listed."""
    for comparison in group:
        if comparison.operator == "==":
            return [comparison.value]
        if comparison.operator == "in":
            return list(comparison.value)
    low, high = _bounds(group)
    is_closed = (low.operator, high.operator) == (">=", "<=")
    return [low.value] if is_closed and same(low.value, high.value) else None


def _example(group: list[Comparison]) -> Any:
    """A value whose type and beginning is that of all that come into question."""
    members = [comparison.value for comparison in group if comparison.operator == "has"]
    prefixes = [comparison.value for comparison in group if comparison.operator == "prefix"]
    if members:
        return members
    return max(prefixes, key=len) if prefixes else None


def _empty_range(group: list[Comparison]) -> bool:
    low, high = _bounds(group)
    is_open = low.operator == ">" or high.operator == "<"
    return less(high.value, low.value) or (same(low.value, high.value) and is_open)


def _bounds(group: list[Comparison]) -> tuple[Comparison, Comparison]:
    """The highest lower bound and the lowest upper one; null and an object where there is none."""
    low, high = Comparison((), ">=", None), Comparison((), "<=", {})
    for one in group:
        is_closer = same(one.value, low.value) and one.operator == ">"
        if one.operator in {">", ">="} and (less(low.value, one.value) or is_closer):
            low = one
        is_closer = same(one.value, high.value) and one.operator == "<"
        if one.operator in {"<", "<="} and (less(one.value, high.value) or is_closer):
            high = one
    return low, high


def _holds(comparison: Comparison, value: Any) -> bool:
    return OPERATORS[comparison.operator].holds(value, comparison.value)


def _sample_callers(condition: Condition) -> Iterator[Caller]:
    """Callers among whom is one for every answer the condition can give."""
    plain = list(_plain_values(condition))
    texts = {value for value in plain if isinstance(value, str)}
    numbers = {int(value) for value in plain if isinstance(value, int | float)}
    names = {_NOBODY, *texts}
    times = {0, MAX_WHOLE_NUMBER, *(number + by for number in numbers for by in (-1, 0, 1))}
    variables = condition.variables
    return (
        Caller(name, now_ms)
        for name, now_ms in product(
            sorted(names) if Variable.PRINCIPAL in variables else [_NOBODY],
            sorted(t for t in times if t >= 0) if Variable.NOW in variables else [0],
        )
    )


def _plain_values(condition: Condition) -> Iterator[Any]:
    if isinstance(condition, All | AnyOf):
        for part in condition.parts:
            yield from _plain_values(part)
    elif isinstance(condition, Comparison):
        yield from _flat(condition.value)


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, Variable):
        return
    if is_scalar(value):
        yield value
        return
    for item in value.values() if isinstance(value, dict) else value:
        yield from _flat(item)
