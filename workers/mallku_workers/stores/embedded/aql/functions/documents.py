"""Objects: their attributes, taking them apart and putting them together.

Source: ArangoDB manual, "Document and object functions in AQL"; recorded answers of a server.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from mallku_contracts.limits import MAX_DEPTH
from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.functions.base import MANY, Function, Steps, bounded, named
from mallku_workers.stores.embedded.aql.operators import access
from mallku_workers.stores.embedded.aql.values import (
    equal,
    finite,
    is_number,
    to_bool,
    to_json,
    to_string,
)

Object = dict[str, Any]


def _has(call: Call, value: Any, name: Any) -> bool:
    return type(value) is dict and call.text(name) in value


def _shown(names: Iterable[str], remove_internal: Any) -> list[str]:
    hide = to_bool(remove_internal)
    return [name for name in names if not (hide and name.startswith("_"))]


def _attributes(
    call: Call, name: str, value: Any, remove_internal: Any = None, in_order: Any = None
) -> Any:
    if type(value) is not dict:
        return call.wrong_type(name)
    names = _shown(value, remove_internal)
    return sorted(names) if to_bool(in_order) else names


def _values(call: Call, value: Any, remove_internal: Any = None) -> Any:
    if type(value) is not dict:
        return call.wrong_type("VALUES")
    return [value[name] for name in _shown(value, remove_internal)]


def _value(call: Call, value: Any, path: Any) -> Any:
    """What stands at a path of attribute names and places."""
    if type(value) is not dict or type(path) is not list:
        return call.wrong_type("VALUE")
    found: Any = value
    for step in path:
        found = access(found, step)
    return found


def _entries(call: Call, value: Any) -> Any:
    if type(value) is not dict:
        return call.wrong_type("ENTRIES")
    return [[name, item] for name, item in value.items()]


# Parts


def _names(call: Call, function: str, given: Iterable[Any]) -> set[str]:
    """The attribute names of KEEP and UNSET: names, and lists of names."""
    names: set[str] = set()
    for one in given:
        if type(one) is list:
            if not all(type(name) is str for name in one):
                call.wrong_type(function)
            names.update(name for name in one if type(name) is str)
        elif type(one) is str or is_number(one):
            names.add(to_string(one))
    return names


def _part(name: str, *, keep: bool, deep: bool = False) -> Function:
    def part(call: Call, value: Any, *given: Any) -> Any:
        if type(value) is not dict:
            return call.wrong_type(name)
        return _Choice(_names(call, name, given), keep, deep, Steps(call)).of(value)

    return Function(name, 2, MANY, part)


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which attributes stay, also those of objects in objects where it is a deep one."""

    names: set[str]
    keep: bool
    deep: bool
    steps: Steps

    def of(self, value: Object) -> Object:
        """The object with the attributes that stay."""
        stay = {name: item for name, item in value.items() if (name in self.names) is self.keep}
        return {name: self.inside(item) for name, item in stay.items()} if self.deep else stay

    def inside(self, value: Any) -> Any:
        """What becomes of an attribute's value; a list stays as it is."""
        self.steps.take()
        return self.of(value) if type(value) is dict else value


# Together


def _objects(call: Call, name: str, values: Any) -> list[Object] | None:
    if isinstance(values, list | tuple) and all(type(value) is dict for value in values):
        return list(values)
    call.wrong_type(name)
    return None


def _merge(call: Call, *values: Any) -> Any:
    if len(values) == 1 and type(values[0]) is dict and not call.constant:
        return values[0]
    found = _objects(call, "MERGE", values[0] if len(values) == 1 else values)
    merged: Object = {}
    for value in found or ():
        merged |= value
    return None if found is None else merged


def _merge_recursive(call: Call, *values: Any) -> Any:
    alone = len(values) == 1 and type(values[0]) is list
    found = _objects(call, "MERGE_RECURSIVE", values[0] if alone else values)
    merged, steps = Object(), Steps(call)
    for value in found or ():
        merged = _merged(merged, value, steps)
    return None if found is None else merged


def _merged(old: Object, new: Object, steps: Steps) -> Object:
    merged = dict(old)
    for name, value in new.items():
        steps.take()
        before = merged.get(name)
        deeper = type(before) is dict and type(value) is dict
        merged[name] = _merged(before, value, steps) if deeper else value  # type: ignore[arg-type]
    return merged


def _zip(call: Call, names: Any, values: Any) -> Any:
    if type(names) is not list or type(values) is not list or len(names) != len(values):
        return call.wrong_type("ZIP")
    return {call.text(name): value for name, value in zip(names, values, strict=True)}


def _translate(call: Call, value: Any, table: Any, *default: Any) -> Any:
    if type(table) is not dict:
        return call.wrong_type("TRANSLATE")
    return table.get(call.text(value), *(default or (value,)))


def _matches(call: Call, value: Any, examples: Any, as_index: Any = None) -> Any:
    if type(value) is not dict:
        return False
    wanted = examples if type(examples) is list else [examples]
    if not wanted:
        call.wrong_type("MATCHES")
        return False
    place = next((i for i, one in enumerate(wanted) if _agrees(call, value, one)), -1)
    return place if to_bool(as_index) else place >= 0


def _agrees(call: Call, value: Object, example: Any) -> bool:
    if type(example) is not dict:
        call.wrong_type("MATCHES")
        return False
    return all(equal(value.get(name), item) for name, item in example.items())


# JSON


def _json_stringify(call: Call, value: Any) -> str:
    return to_json(value, javascript=call.constant)


def _json_parse(call: Call, text: Any) -> Any:
    """The value of a JSON text; null with a warning where it is none, or nested too deeply."""
    try:
        value = json.loads(text, parse_int=_integer, parse_constant=_refuse) if text else _refuse()
        _check(value, MAX_DEPTH)
    except (ValueError, TypeError, RecursionError):
        return call.wrong_type("JSON_PARSE")
    return value


def _integer(text: str) -> Any:
    return int(text) if len(text) < len(str(2**63)) else float(text)


def _refuse(_text: str = "") -> Any:
    raise ValueError("not JSON")


def _check(value: Any, levels: int) -> None:
    """Raise where the value is nested deeper than `levels`, or holds an infinite number."""
    if type(value) is float and finite(value) is None:
        raise ValueError("an infinite number")
    if isinstance(value, list | dict):
        if levels == 0:
            raise ValueError("nested too deeply")
        for item in value.values() if isinstance(value, dict) else value:
            _check(item, levels - 1)


DOCUMENTS: Final = (
    Function("HAS", 2, 2, _has),
    Function("ATTRIBUTES", 1, 3, named("ATTRIBUTES", _attributes)),
    Function("KEYS", 1, 3, named("KEYS", _attributes)),
    Function("VALUES", 1, 2, _values),
    Function("VALUE", 2, 2, _value),
    Function("ENTRIES", 1, 1, _entries),
    _part("KEEP", keep=True),
    _part("UNSET", keep=False),
    bounded(_part("KEEP_RECURSIVE", keep=True, deep=True)),
    bounded(_part("UNSET_RECURSIVE", keep=False, deep=True)),
    Function("MERGE", 1, MANY, _merge),
    bounded(Function("MERGE_RECURSIVE", 1, MANY, _merge_recursive)),
    Function("ZIP", 2, 2, _zip),
    Function("TRANSLATE", 2, 3, _translate),
    Function("MATCHES", 2, 3, _matches),
    Function("JSON_STRINGIFY", 1, 1, _json_stringify),
    Function("JSON_PARSE", 1, 1, _json_parse),
)
