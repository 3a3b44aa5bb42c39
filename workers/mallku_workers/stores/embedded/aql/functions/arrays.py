"""Arrays: taking, adding, removing, and sets.

Values are the same where `==` says so. No argument is changed: results are new lists, or arguments.

Source: ArangoDB manual, "Array functions in AQL"; recorded answers of a server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from itertools import zip_longest
from typing import Any, Final

from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.functions.base import MANY, Function, Keys, lists, named
from mallku_workers.stores.embedded.aql.functions.strings import units, whole
from mallku_workers.stores.embedded.aql.operators import contains, flatten
from mallku_workers.stores.embedded.aql.values import (
    equal,
    to_bool,
    to_integer,
    to_number,
)

_NOTHING: Final = object()


def _by_key(call: Call, values: Iterable[Any]) -> dict[Hashable, Any]:
    """The different values, in the order they first came in, by their group keys."""
    found: dict[Hashable, Any] = {}
    keys = Keys(call)
    for value in values:
        found.setdefault(keys.group(value), value)
    return found


def _length(call: Call, value: Any) -> int:
    if type(value) is list or type(value) is dict:
        return len(value)
    return int(value) if type(value) is bool else len(call.text(value))


# Taking


def _first(call: Call, values: Any) -> Any:
    if type(values) is not list:
        return call.no_array("FIRST")
    return values[0] if values else None


def _last(call: Call, values: Any) -> Any:
    if type(values) is not list:
        return call.no_array("LAST")
    return values[-1] if values else None


def _nth(call: Call, values: Any, place: Any) -> Any:
    if type(values) is not list:
        return call.no_array("NTH")
    where = to_number(place)
    # 1.9 is no constant place: the server looks for an item of that very name.
    where = where if call.constant else int(where)
    return values[int(where)] if 0 <= where < len(values) and where == int(where) else None


def _position(call: Call, name: str, values: Any, wanted: Any, as_index: Any = None) -> Any:
    if type(values) is not list:
        return call.no_array(name)
    found = (place for place, value in enumerate(values) if equal(value, wanted))
    place = next(found, -1)
    return place if to_bool(as_index) else place >= 0


def _slice(call: Call, values: Any, start: Any, length: Any = None) -> Any:
    if type(values) is not list:
        return call.wrong_type("SLICE")
    first = to_integer(start)
    first = max(len(values) + first, 0) if first < 0 else first
    if length is None:
        return values[first:]
    count = to_integer(length)
    return values[first : first + count if count >= 0 else max(len(values) + count, 0)]


def _reverse(call: Call, value: Any) -> Any:
    if type(value) is str:
        return whole(units(value)[::-1])
    return value[::-1] if type(value) is list else call.no_array("REVERSE")


# Adding


def _push(call: Call, values: Any, value: Any, unique: Any = None) -> Any:
    if _can_add(call, "PUSH", values):
        known = to_bool(unique) and contains(value, values, call)
        return values if known else [*(values or ()), value]
    return None


def _unshift(call: Call, values: Any, value: Any, unique: Any = None) -> Any:
    if _can_add(call, "UNSHIFT", values):
        known = to_bool(unique) and contains(value, values, call)
        return values if known else [value, *(values or ())]
    return None


def _can_add(call: Call, name: str, values: Any) -> bool:
    """Whether the values are a list, or nothing yet; else warn."""
    if values is not None and type(values) is not list:
        call.wrong_type(name)
        return False
    call.fit_items(len(values or ()) + 1)
    return True


def _append(call: Call, values: Any, more: Any, unique: Any = None) -> Any:
    if more is None or (more == [] and type(values) is not list):
        return values
    if values is not None and type(values) is not list:
        return call.wrong_type("APPEND")
    found = [*(values or ()), *(more if type(more) is list else (more,))]
    call.fit_items(len(found))
    return list(_by_key(call, found).values()) if to_bool(unique) else found


def _replace_nth(call: Call, values: Any, place: Any, value: Any, filler: Any = _NOTHING) -> Any:
    if type(values) is not list or place is None:
        return call.wrong_type("REPLACE_NTH")
    where = to_integer(place)
    where = max(where + len(values), 0) if where < 0 else where
    if where < len(values):
        return [*values[:where], value, *values[where + 1 :]]
    if filler is _NOTHING and where > len(values):
        return call.wrong_type("REPLACE_NTH")
    call.fit_items(where + 1)
    return [*values, *[filler] * (where - len(values)), value]


def _interleave(call: Call, *values: Any) -> Any:
    found = lists(call, "INTERLEAVE", values)
    if found is None:
        return None
    call.fit_items(sum(map(len, found)))
    rows = zip_longest(*found, fillvalue=_NOTHING)
    return [item for row in rows for item in row if item is not _NOTHING]


# Removing


def _pop(call: Call, values: Any) -> Any:
    if values is None:
        return None
    return values[:-1] if type(values) is list else call.wrong_type("POP")


def _shift(call: Call, values: Any) -> Any:
    if values is None:
        return None
    return values[1:] if type(values) is list else call.wrong_type("SHIFT")


def _remove_value(call: Call, values: Any, value: Any, limit: Any = None) -> Any:
    if values is None:
        return []
    if type(values) is not list:
        return call.wrong_type("REMOVE_VALUE")
    left = len(values) if limit is None else to_integer(limit)
    left = len(values) if left == -1 else left
    kept = []
    for item in values:
        if left > 0 and equal(item, value):
            left -= 1
        else:
            kept.append(item)
    return kept


def _remove_values(call: Call, values: Any, unwanted: Any) -> Any:
    if unwanted is None:
        return values
    if type(unwanted) is not list or not (values is None or type(values) is list):
        return call.wrong_type("REMOVE_VALUES")
    keys = Keys(call)
    known = set(map(keys.sort, unwanted))
    return [value for value in values or () if keys.sort(value) not in known]


def _remove_nth(call: Call, values: Any, place: Any) -> Any:
    if values is None:
        return []
    if type(values) is not list:
        return call.wrong_type("REMOVE_NTH")
    where = to_integer(place)
    where += len(values) if where < 0 else 0
    if not 0 <= where < len(values):
        return values
    return [*values[:where], *values[where + 1 :]]


# Sets and order


def _unique(call: Call, values: Any) -> Any:
    if type(values) is not list:
        return call.no_array("UNIQUE")
    return list(_by_key(call, values).values())


def _sorted(call: Call, values: Any) -> Any:
    if type(values) is not list:
        return call.no_array("SORTED")
    return sorted(values, key=Keys(call).sort)


def _sorted_unique(call: Call, values: Any) -> Any:
    if type(values) is not list:
        return call.no_array("SORTED_UNIQUE") if call.constant else None
    keys = Keys(call)
    found: dict[bytes, Any] = {}
    for value in values:
        found.setdefault(keys.sort(value), value)
    return [found[key] for key in sorted(found)]


def _count_distinct(call: Call, name: str, values: Any) -> Any:
    return call.no_array(name) if type(values) is not list else len(_by_key(call, values))


def _union(call: Call, *values: Any) -> Any:
    found = lists(call, "UNION", values)
    if found is None:
        return None
    call.fit_items(sum(map(len, found)))
    return [value for one in found for value in one]


def _union_distinct(call: Call, *values: Any) -> Any:
    found = lists(call, "UNION_DISTINCT", values)
    if found is None:
        return None
    return list(_by_key(call, (value for one in found for value in one)).values())


def _warn_of_sets(call: Call) -> Callable[[str], None]:
    """The warning of what is no list, another one where constants are worked out."""
    return call.wrong_type if call.constant else call.no_array


def _intersection(call: Call, *values: Any) -> Any:
    found = lists(call, "INTERSECTION", values, _warn_of_sets(call))
    if found is None:
        return None
    common = _by_key(call, found[0])
    for one in found[1:]:
        known = _by_key(call, one)
        common = {key: value for key, value in common.items() if key in known}
    return list(common.values())


def _minus(call: Call, *values: Any) -> Any:
    found = lists(call, "MINUS", values)
    if found is None:
        return None
    unwanted = _by_key(call, (value for one in found[1:] for value in one))
    return [value for key, value in _by_key(call, found[0]).items() if key not in unwanted]


def _outersection(call: Call, *values: Any) -> Any:
    """What occurs once and nowhere else."""
    found = lists(call, "OUTERSECTION", values, _warn_of_sets(call))
    if found is None:
        return None
    keys = Keys(call)
    keyed = [(keys.group(value), value) for one in found for value in one]
    times = Counter(key for key, _ in keyed)
    return [value for key, value in keyed if times[key] == 1]


def _jaccard(call: Call, one: Any, other: Any) -> Any:
    found = lists(call, "JACCARD", (one, other))
    if found is None:
        return None
    left, right = (set(_by_key(call, values)) for values in found)
    return len(left & right) / len(left | right) if left or right else 1


def _flatten(call: Call, values: Any, depth: Any = None) -> Any:
    if type(values) is not list:
        return call.no_array("FLATTEN")
    return flatten(values, min(max(to_integer(depth), 1), call.max_items), call.max_items)


ARRAYS: Final = (
    Function("LENGTH", 1, 1, _length),
    Function("COUNT", 1, 1, _length),
    Function("FIRST", 1, 1, _first),
    Function("LAST", 1, 1, _last),
    Function("NTH", 2, 2, _nth),
    Function("POSITION", 2, 3, named("POSITION", _position)),
    Function("CONTAINS_ARRAY", 2, 3, named("CONTAINS_ARRAY", _position)),
    Function("SLICE", 2, 3, _slice),
    Function("REVERSE", 1, 1, _reverse),
    Function("PUSH", 2, 3, _push),
    Function("UNSHIFT", 2, 3, _unshift),
    Function("APPEND", 2, 3, _append),
    Function("REPLACE_NTH", 3, 4, _replace_nth),
    Function("INTERLEAVE", 2, MANY, _interleave),
    Function("POP", 1, 1, _pop),
    Function("SHIFT", 1, 1, _shift),
    Function("REMOVE_VALUE", 2, 3, _remove_value),
    Function("REMOVE_VALUES", 2, 2, _remove_values),
    Function("REMOVE_NTH", 2, 2, _remove_nth),
    Function("UNIQUE", 1, 1, _unique),
    Function("SORTED", 1, 1, _sorted),
    Function("SORTED_UNIQUE", 1, 1, _sorted_unique),
    Function("COUNT_DISTINCT", 1, 1, named("COUNT_DISTINCT", _count_distinct)),
    Function("COUNT_UNIQUE", 1, 1, named("COUNT_UNIQUE", _count_distinct)),
    Function("UNION", 2, MANY, _union),
    Function("UNION_DISTINCT", 2, MANY, _union_distinct),
    Function("INTERSECTION", 2, MANY, _intersection),
    Function("MINUS", 2, MANY, _minus),
    Function("OUTERSECTION", 2, MANY, _outersection),
    Function("JACCARD", 2, 2, _jaccard),
    Function("FLATTEN", 1, 2, _flatten),
)
