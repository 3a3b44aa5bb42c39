"""Lists of numbers: sums, means, spread, percentiles, distances between vectors.

Nulls are left out. Anything else that is no number makes the result null, with a warning. Some warn
otherwise where their arguments are constants: the recorded server works those out by another
implementation, in JavaScript.

Source: ArangoDB manual, "Numeric functions in AQL"; recorded answers of a server; its
`Functions.cpp` and `aql.js`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from mallku_workers.stores.embedded.aql import warnings as w
from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.functions.base import Function, named, numbers
from mallku_workers.stores.embedded.aql.values import (
    Number,
    compare,
    finite,
    is_number,
    to_integer,
    to_number,
)

_FULL: Final = 100


def _extreme(call: Call, name: str, values: Any, sign: int) -> Any:
    if type(values) is not list:
        return call.no_array(name)
    best = None
    for value in values:
        if value is not None and (best is None or compare(value, best) * sign > 0):
            best = value
    return best


def _min(call: Call, values: Any) -> Any:
    return _extreme(call, "MIN", values, -1)


def _max(call: Call, values: Any) -> Any:
    return _extreme(call, "MAX", values, 1)


def _sum(call: Call, values: Any) -> Any:
    """The sum; 0 where it is no finite number."""
    found = numbers(call, "SUM", values, w.ARGUMENT_TYPE if call.constant else None)
    return None if found is None else finite(sum(found)) or 0


def _product(call: Call, values: Any) -> Any:
    found = numbers(call, "PRODUCT", values, w.ARGUMENT_TYPE)
    if found is None:
        return None
    product: Number | None = 1
    for value in found:
        product = finite((product or 0) * value)
        if product is None:
            return None
    return product


def _average(call: Call, name: str, values: Any) -> Any:
    warning = w.INVALID_ARITHMETIC if call.constant else w.ARRAY_EXPECTED
    found = numbers(call, name, values, warning)
    return finite(_mean(found)) if found else None


def _mean(values: Sequence[Number]) -> Number:
    total = sum(values)
    if type(total) is int and total % len(values) == 0:
        return total // len(values)
    return total / len(values)


def _median(call: Call, values: Any) -> Any:
    found = numbers(call, "MEDIAN", values, w.INVALID_ARITHMETIC)
    if not found:
        return None
    found.sort()
    middle = len(found) // 2
    return finite(_mean(found[middle - 1 : middle + 1])) if len(found) % 2 == 0 else found[middle]


def _percentile(call: Call, values: Any, share: Any, method: Any = None) -> Any:
    if type(values) is not list:
        return call.no_array("PERCENTILE")
    method = "rank" if method is None else method
    if not is_number(share) or not 0 < share <= _FULL or method not in ("rank", "interpolation"):
        return call.wrong_type("PERCENTILE")
    found = numbers(call, "PERCENTILE", values, w.INVALID_ARITHMETIC)
    if not found:
        return None
    found.sort()
    if method == "interpolation":
        return _interpolated(found, share)
    return found[min(math.ceil(share * len(found) / _FULL), len(found)) - 1]


def _interpolated(ordered: Sequence[Number], share: Number) -> Number | None:
    """The value at a share of the way from the first to the last; null before the first."""
    place = share * (len(ordered) + 1) / _FULL
    below = math.floor(place)
    if below >= len(ordered) or len(ordered) == 1:
        return ordered[-1]
    if below < 1:
        return None
    low = ordered[below - 1]
    return finite((place - below) * (ordered[below] - low) + low)


def _spread(
    call: Call, name: str, values: Any, *, lost: int, finish: Callable[[float], float]
) -> Any:
    """The mean of the squared distances from the mean (B. P. Welford, 1962), finished."""
    found = numbers(call, name, values, w.INVALID_ARITHMETIC)
    if found is None or len(found) <= lost:
        return None
    mean = squares = 0.0
    for count, value in enumerate(found, 1):
        delta = value - mean
        mean += delta / count
        squares += delta * (value - mean)
    return finite(finish(squares / (len(found) - lost))) if math.isfinite(squares) else None


def _variance(call: Call, name: str, values: Any) -> Any:
    return _spread(call, name, values, lost=0, finish=float)


def _variance_sample(call: Call, values: Any) -> Any:
    return _spread(call, "VARIANCE_SAMPLE", values, lost=1, finish=float)


def _deviation(call: Call, name: str, values: Any) -> Any:
    return _spread(call, name, values, lost=0, finish=math.sqrt)


def _deviation_sample(call: Call, values: Any) -> Any:
    return _spread(call, "STDDEV_SAMPLE", values, lost=1, finish=math.sqrt)


def _range(call: Call, start: Any, end: Any, step: Any = None) -> Any:
    """The numbers from one end to the other; whole ones unless there is a step, or constants."""
    whole = step is None and not call.constant
    first, last = (to_integer(one) if whole else to_number(one) for one in (start, end))
    by = (1 if first <= last else -1) if step is None else to_number(step)
    if by == 0 or (last - first) * by < 0:
        return call.wrong_type("RANGE")
    steps = (last - first) / by
    call.fit_items(int(steps) if math.isfinite(steps) else call.max_items + 1)
    found, current = [], first
    while current <= last if by > 0 else current >= last:
        found.append(current)
        call.fit_items(len(found))
        current += by
    return found


# Vectors


def _vectors(call: Call, name: str, one: Any, other: Any) -> tuple[list[Any], list[Any]] | None:
    """Two lists of numbers of the same length."""
    both = type(one) is list and type(other) is list and len(one) == len(other)
    if both and all(map(is_number, one)) and all(map(is_number, other)):
        return one, other
    call.wrong_type(name)
    return None


def _vector_function(name: str, measure: Callable[[list[Any], list[Any]], float]) -> Function:
    """A measure of two vectors, or of each of a list of vectors and one vector."""

    def apply(call: Call, one: Any, other: Any) -> Any:
        for matrix, vector in ((one, other), (other, one)):
            if type(matrix) is list and matrix and all(type(row) is list for row in matrix):
                return [between(call, row, vector) for row in matrix]
        return between(call, one, other)

    def between(call: Call, one: Any, other: Any) -> Any:
        pair = _vectors(call, name, one, other)
        if pair is None:
            return None
        try:
            return finite(measure(*pair))
        except (ValueError, OverflowError):
            return None
        except ZeroDivisionError:
            return call.warn(w.INVALID_ARITHMETIC, f"in function {name}(): a vector is zero")

    return Function(name, 2, 2, apply)


def _cosine(one: list[Any], other: list[Any]) -> float:
    dot = float(sum(left * right for left, right in zip(one, other, strict=True)))
    return max(-1.0, min(1.0, dot / (math.hypot(*one) * math.hypot(*other))))


def _manhattan(one: list[Any], other: list[Any]) -> float:
    return float(sum(abs(left - right) for left, right in zip(one, other, strict=True)))


STATISTICS: Final = (
    Function("MIN", 1, 1, _min),
    Function("MAX", 1, 1, _max),
    Function("SUM", 1, 1, _sum),
    Function("PRODUCT", 1, 1, _product),
    Function("AVERAGE", 1, 1, named("AVERAGE", _average)),
    Function("AVG", 1, 1, named("AVG", _average)),
    Function("MEDIAN", 1, 1, _median),
    Function("PERCENTILE", 2, 3, _percentile),
    Function("VARIANCE", 1, 1, named("VARIANCE", _variance)),
    Function("VARIANCE_POPULATION", 1, 1, named("VARIANCE_POPULATION", _variance)),
    Function("VARIANCE_SAMPLE", 1, 1, _variance_sample),
    Function("STDDEV", 1, 1, named("STDDEV", _deviation)),
    Function("STDDEV_POPULATION", 1, 1, named("STDDEV_POPULATION", _deviation)),
    Function("STDDEV_SAMPLE", 1, 1, _deviation_sample),
    Function("RANGE", 2, 3, _range),
    _vector_function("COSINE_SIMILARITY", _cosine),
    _vector_function("L1_DISTANCE", _manhattan),
    _vector_function("L2_DISTANCE", math.dist),
)
