"""The `where` of a rule, from the values of a YAML document to a condition.

A map of fields, all of which must hold. A field is given a value that it must equal, or a map of
operators: `==` `!=` `<` `<=` `>` `>=` `in` `not_in` `has` `prefix` `exists`. `all` and `any` take
lists of such maps, `not` takes one. A dot separates attribute names, there is no escape; a name in
back-ticks is a field even when it is `all`, `any` or `not`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from mallku_contracts.policy.condition import All, AnyOf, Comparison, Condition
from mallku_contracts.policy.problem import Place, PolicyProblem
from mallku_contracts.policy.values import MAX_WHOLE_NUMBER, FieldPath, Variable
from mallku_contracts.wording import did_you_mean

MAX_WHERE_DEPTH: Final = 8
"""Combinators of a `where` inside each other, levels."""

MAX_COMPARISONS: Final = 64
"""Comparisons of one `where`."""

MAX_LISTED_VALUES: Final = 256
"""Values after `in` or `not_in`."""

MAX_VALUE_DEPTH: Final = 8
"""Lists and maps inside each other in a value of a policy, levels."""

MAX_PATH_STEPS: Final = 16
"""Attribute names of one field path."""

_STEP = re.compile(r"[^`\xb4\\.\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,128}")
_RANGES: Final = frozenset({"<", "<=", ">", ">="})
_COMPARED: Final = ("==", "!=", *sorted(_RANGES), "in", "not_in", "has", "prefix", "exists")
_COMBINATORS: Final = frozenset({"all", "any", "not"})
_UNSETTLED: Final = frozenset({("_id",), ("_rev",)})


def read_where(value: object) -> Condition:
    """Compile a `where`.

    Raises:
        PolicyProblem: it says nothing, is too deep or too large, or uses what cannot be compiled so
            that the predicate and the AQL filter mean the same.
    """
    condition = _conjunction(value, ())
    if _size(condition) > MAX_COMPARISONS:
        raise PolicyProblem(f"more than {MAX_COMPARISONS} comparisons", ())
    return condition


def read_path(text: object, place: Place = ()) -> FieldPath:
    """The attribute names of a dotted path; raises `PolicyProblem`."""
    if not isinstance(text, str):
        raise PolicyProblem(f"{text!r} is no field name; put it between quotes", place)
    steps = tuple(_unquoted(step) for step in text.split("."))
    if len(steps) > MAX_PATH_STEPS or not all(map(_STEP.fullmatch, steps)):
        raise PolicyProblem(f"{text[:128]!r} is not a path of attribute names", place)
    return steps


def read_value(value: object, place: Place, depth: int = 0) -> Any:
    """A value of a policy: `$principal` and `$now` are the caller's, `$$` begins a plain `$`.

    Raises:
        PolicyProblem: it cannot be stored, or another store would round it.
    """
    if depth > MAX_VALUE_DEPTH:
        raise PolicyProblem(f"a value nested deeper than {MAX_VALUE_DEPTH} levels", place)
    match value:
        case None | bool():
            return value
        case str():
            return _text(value, place)
        case int() | float():
            return _number(value, place)
        case list() | tuple():
            return [read_value(item, (*place, at), depth + 1) for at, item in enumerate(value)]
        case dict():
            return {
                _member(name, place): read_value(item, (*place, name), depth + 1)
                for name, item in value.items()
            }
        case _:
            raise PolicyProblem(f"{type(value).__name__} is no value of a document", place)


def _conjunction(value: object, place: Place) -> Condition:
    if not isinstance(value, Mapping):
        raise PolicyProblem("a condition is a map of fields to what they must be", place)
    if not value:
        raise PolicyProblem("an empty condition says nothing; leave it out", place)
    if sum(step in _COMBINATORS for step in place) > MAX_WHERE_DEPTH:
        raise PolicyProblem(f"nested deeper than {MAX_WHERE_DEPTH} levels", place)
    parts = tuple(_entry(key, item, (*place, key)) for key, item in value.items())
    return parts[0] if len(parts) == 1 else All(parts)


def _entry(key: Any, item: object, place: Place) -> Condition:
    match key:
        case "all":
            return All(_alternatives(item, place))
        case "any":
            return AnyOf(_alternatives(item, place))
        case "not":
            return _conjunction(item, place).opposite()
        case _:
            return _field(read_path(key, place), item, place)


def _alternatives(item: object, place: Place) -> tuple[Condition, ...]:
    if not isinstance(item, list | tuple) or not item:
        raise PolicyProblem(f"{place[-1]} takes a list of at least one condition", place)
    return tuple(_conjunction(part, (*place, at)) for at, part in enumerate(item))


def _field(path: FieldPath, item: object, place: Place) -> Condition:
    if path in _UNSETTLED:
        raise PolicyProblem(f"{path[0]} is the store's to make; ask for _key", place)
    if isinstance(item, list | tuple):
        raise PolicyProblem(
            "a list alone could mean two things: write {in: […]} for one of these values,"
            ' {"==": […]} for exactly this list',
            place,
        )
    if not isinstance(item, Mapping):
        return _compare(path, "==", item, place)
    if not item:
        raise PolicyProblem("no operator is named", place)
    parts = tuple(_compare(path, word, value, (*place, word)) for word, value in item.items())
    return parts[0] if len(parts) == 1 else All(parts)


def _compare(path: FieldPath, word: Any, item: object, place: Place) -> Condition:
    if word not in _COMPARED:
        raise PolicyProblem(f"unknown operator {word!r}{did_you_mean(str(word), _COMPARED)}", place)
    if word == "exists":
        return _existence(path, item, place)
    value = read_value(item, place)
    if word in _RANGES:
        _refuse_unordered(value, place)
    elif word in {"in", "not_in"}:
        _refuse_unlisted(word, value, place)
    elif word == "prefix":
        _refuse_no_text(value, place)
    return Comparison(path, word, value)


def _existence(path: FieldPath, item: object, place: Place) -> Condition:
    if not isinstance(item, bool):
        raise PolicyProblem("exists takes true or false", place)
    return Comparison(path, "!=" if item else "==", None)


def _refuse_unordered(value: object, place: Place) -> None:
    if value is Variable.NOW or isinstance(value, int | float) or value is None:
        return
    raise PolicyProblem(
        "a range takes a number, $now, true, false or null: the order of texts is the database's"
        " collation, which the gateway does not know; use prefix or in",
        place,
    )


def _refuse_unlisted(word: str, value: object, place: Place) -> None:
    if not isinstance(value, list):
        raise PolicyProblem(f"{word} takes a list", place)
    if not value:
        says = "can never hold" if word == "in" else "says nothing"
        raise PolicyProblem(f"{word} with an empty list {says}", place)
    if len(value) > MAX_LISTED_VALUES:
        raise PolicyProblem(f"more than {MAX_LISTED_VALUES} values", place)


def _refuse_no_text(value: object, place: Place) -> None:
    if value is Variable.PRINCIPAL:
        raise PolicyProblem(
            "prefix takes no variable: the name of one principal can begin another's", place
        )
    if not isinstance(value, str) or not value:
        raise PolicyProblem("prefix takes a text of at least one character", place)


def _text(value: str, place: Place) -> str | Variable:
    if not value.isprintable() and any("\ud800" <= char <= "\udfff" for char in value):
        raise PolicyProblem("half a character (a lone surrogate) cannot be stored", place)
    if value.startswith("$$"):
        return value[1:]
    if not value.startswith("$"):
        return value
    known = [variable.value for variable in Variable]
    if value in known:
        return Variable(value)
    raise PolicyProblem(
        f"unknown variable {value!r}; there are {' and '.join(known)}, and $$ begins a plain $",
        place,
    )


def _number(value: float, place: Place) -> float:
    if value != value or abs(value) == math.inf:  # noqa: PLR0124 - NaN, and integers beyond floats
        raise PolicyProblem("inf and nan cannot be stored", place)
    if abs(value) > MAX_WHOLE_NUMBER:
        raise PolicyProblem("a number beyond 2^53 - 1 is rounded by some stores", place)
    return value


def _member(name: object, place: Place) -> str:
    if not isinstance(name, str):
        _refuse_member(name, place)
    return name


def _refuse_member(name: object, place: Place) -> NoReturn:
    raise PolicyProblem(f"{name!r} is no attribute name; put it between quotes", place)


def _unquoted(step: str) -> str:
    quoted = len(step) > len("``") and step[0] == step[-1] == "`"
    return step[1:-1] if quoted else step


def _size(condition: Condition) -> int:
    if isinstance(condition, All | AnyOf):
        return sum(map(_size, condition.parts))
    return 1
