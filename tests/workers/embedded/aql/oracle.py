"""AQL worked out another way: queries made of parts that know their text and their meaning.

Every part is a text and a plain Python function of the variables; nothing of the executor is used,
not even its order of values. A query is a text with the rows that it must give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cmp_to_key
from operator import itemgetter
from typing import Any, Final, TypeAlias

Env: TypeAlias = dict[str, Any]
Data: TypeAlias = dict[str, list[dict[str, Any]]]

TEXTS: Final = (
    "", "\u2026", " ", "-1", "0", "10", "9", "A", "AB", "E", "É", "F", "a", "ab", "e", "é", "f",
    "\u03a9", "\u65e5",
)  # fmt: skip
"""Strings in AQL's order."""

_PLACES: Final = str.maketrans(
    {"\u2026": "\x01", "É": "E\x01", "é": "e\x01", "\u03a9": "\x7f", "\u65e5": "\x7f\x7f"}
)
"""Characters beyond ASCII as something that stands where they stand."""

_RANKS: Final = {bool: 1, int: 3, float: 3, str: 4, list: 5, dict: 6}


# Values


def order(left: Any, right: Any) -> int:
    """-1, 0 or 1 by the manual's "Type and value order"."""
    one, other = _rank(left), _rank(right)
    if one != other:
        return -1 if one < other else 1
    if isinstance(left, list):
        return _order_lists(left, right)
    if isinstance(left, dict):
        return _order_objects(left, right)
    if isinstance(left, str):
        left, right = left.translate(_PLACES), right.translate(_PLACES)
    return 0 if left is None else int(left > right) - int(left < right)


def _rank(value: Any) -> int:
    return 0 if value is None else _RANKS[type(value)]


def _order_lists(left: list[Any], right: list[Any]) -> int:
    for place in range(max(len(left), len(right))):
        one = left[place] if place < len(left) else None
        other = right[place] if place < len(right) else None
        if found := order(one, other):
            return found
    return 0


def _order_objects(left: dict[str, Any], right: dict[str, Any]) -> int:
    for name in sorted({*left, *right}):
        if found := order(left.get(name), right.get(name)):
            return found
    return 0


by_order: Final = cmp_to_key(order)


def true(value: Any) -> bool:
    """The manual's TO_BOOL."""
    return value not in (None, False, 0, "") if not isinstance(value, list | dict) else True


def number(value: Any) -> Any:
    """The manual's TO_NUMBER, as far as these values go."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value
    if isinstance(value, list) and len(value) == 1:
        return number(value[0])
    return int(value) if isinstance(value, str) and value in {"-1", "0", "10", "9"} else 0


def inside(value: Any, values: Any) -> bool:
    """The operator IN."""
    return isinstance(values, list) and any(order(value, one) == 0 for one in values)


def attribute(value: Any, name: str) -> Any:
    """A part of an object."""
    return value.get(name) if isinstance(value, dict) else None


def different(values: Iterable[Any]) -> list[Any]:
    """Values without those that are equal to an earlier one."""
    found: list[Any] = []
    for value in values:
        if not inside(value, found):
            found.append(value)
    return found


def set_of(values: Iterable[Any]) -> list[Any]:
    """Values without those that are one with an earlier one: equal, with the same nulls in them."""
    found: list[Any] = []
    for value in values:
        if not any(_is_one(value, other) for other in found):
            found.append(value)
    return found


def _is_one(left: Any, right: Any) -> bool:
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_one, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            _is_one(left[name], right[name]) for name in left
        )
    return order(left, right) == 0


# Expressions


@dataclass(frozen=True)
class Part:
    """An expression: what is written, and what it means for some variables."""

    text: str
    value: Callable[[Env], Any]


def spelled(value: Any) -> str:
    """A value as AQL writes it."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(spelled, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{name}": {spelled(item)}' for name, item in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def constant(value: Any) -> Part:
    """A literal."""
    text = spelled(value)
    return Part(f"({text})" if text.startswith("-") else text, lambda _env: value)


def variable(name: str) -> Part:
    """A variable."""
    return Part(name, lambda env: env[name])


def member(part: Part, name: str, *, quoted: bool = False) -> Part:
    """`part.name`, or `part["name"]`."""
    text = f'{part.text}["{name}"]' if quoted else f"{part.text}.{name}"
    return Part(text, lambda env: attribute(part.value(env), name))


COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": lambda a, b: order(a, b) == 0,
    "!=": lambda a, b: order(a, b) != 0,
    "<": lambda a, b: order(a, b) < 0,
    "<=": lambda a, b: order(a, b) <= 0,
    ">": lambda a, b: order(a, b) > 0,
    ">=": lambda a, b: order(a, b) >= 0,
    "IN": inside,
    "NOT IN": lambda a, b: not inside(a, b),
}
ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": lambda a, b: number(a) + number(b),
    "-": lambda a, b: number(a) - number(b),
    "*": lambda a, b: number(a) * number(b),
}
_QUANTIFIERS: Final[dict[str, Callable[[Iterable[bool]], bool]]] = {
    "ANY": any,
    "ALL": all,
    "NONE": lambda found: not any(found),
}


def binary(operator: str, left: Part, right: Part) -> Part:
    """A comparison or an arithmetic operation."""
    apply = (COMPARISONS | ARITHMETIC)[operator]
    text = f"({left.text} {operator} {right.text})"
    return Part(text, lambda env: apply(left.value(env), right.value(env)))


def quantified(quantifier: str, operator: str, left: Part, right: Part) -> Part:
    """`list ANY == value`."""
    compare, decide = COMPARISONS[operator], _QUANTIFIERS[quantifier]

    def value(env: Env) -> bool:
        values, other = left.value(env), right.value(env)
        return isinstance(values, list) and decide(compare(one, other) for one in values)

    return Part(f"({left.text} {quantifier} {operator} {right.text})", value)


def both(left: Part, right: Part, *, word: str = "AND") -> Part:
    """`AND`: the first operand that decides, as it is."""

    def value(env: Env) -> Any:
        first = left.value(env)
        return right.value(env) if true(first) else first

    return Part(f"({left.text} {word} {right.text})", value)


def either(left: Part, right: Part, *, word: str = "OR") -> Part:
    """`OR`: the first operand that decides, as it is."""

    def value(env: Env) -> Any:
        first = left.value(env)
        return first if true(first) else right.value(env)

    return Part(f"({left.text} {word} {right.text})", value)


def negation(part: Part) -> Part:
    """`NOT`."""
    return Part(f"(NOT {part.text})", lambda env: not true(part.value(env)))


def choice(condition: Part, yes: Part, no: Part) -> Part:
    """`condition ? yes : no`."""
    text = f"({condition.text} ? {yes.text} : {no.text})"
    return Part(text, lambda env: (yes if true(condition.value(env)) else no).value(env))


def array(parts: Sequence[Part]) -> Part:
    """`[a, b]`."""
    text = "[" + ", ".join(part.text for part in parts) + "]"
    return Part(text, lambda env: [part.value(env) for part in parts])


def record(parts: dict[str, Part]) -> Part:
    """`{a: 1, b: 2}`."""
    text = "{" + ", ".join(f"{name}: {part.text}" for name, part in parts.items()) + "}"
    return Part(text, lambda env: {name: part.value(env) for name, part in parts.items()})


def expansion(
    subject: Part,
    condition: Part | None = None,
    limit: tuple[int, int] | None = None,
    each: Part | None = None,
) -> Part:
    """`subject[* FILTER condition LIMIT limit RETURN each]`; both see CURRENT."""
    text = f"{subject.text}[*"
    text += "" if condition is None else f" FILTER {condition.text}"
    text += "" if limit is None else f" LIMIT {limit[0]}, {limit[1]}"
    text += "" if each is None else f" RETURN {each.text}"

    def value(env: Env) -> list[Any]:
        items = subject.value(env)
        envs = [env | {"CURRENT": item} for item in (items if isinstance(items, list) else ())]
        if condition is not None:
            envs = [one for one in envs if true(condition.value(one))]
        if limit is not None:
            envs = envs[limit[0] :][: limit[1]]
        return [one["CURRENT"] if each is None else each.value(one) for one in envs]

    return Part(text + "]", value)


def call(name: str, apply: Callable[..., Any], *parts: Part) -> Part:
    """A function."""
    text = f"{name}({', '.join(part.text for part in parts)})"
    return Part(text, lambda env: apply(*(part.value(env) for part in parts)))


def length(value: Any) -> int:
    """LENGTH of a list or an object."""
    return len(value)


def in_order(values: list[Any]) -> list[Any]:
    """SORTED."""
    return sorted(values, key=by_order)


# Statements


@dataclass(frozen=True)
class Statement:
    """One statement: rows of variables in, rows of variables out."""

    text: str
    run: Callable[[list[Env], Data], list[Env]]


def for_documents(name: str, collection: str) -> Statement:
    """`FOR name IN collection`."""
    return Statement(
        f"FOR {name} IN {collection}",
        lambda rows, data: [row | {name: one} for row in rows for one in data[collection]],
    )


def for_values(name: str, values: Part) -> Statement:
    """`FOR name IN values`, where the values are a list."""
    return Statement(
        f"FOR {name} IN {values.text}",
        lambda rows, _data: [row | {name: one} for row in rows for one in values.value(row)],
    )


def span(low: int, high: int) -> Part:
    """`low..high`, also downwards."""
    numbers = list(range(low, high + 1)) if low <= high else list(range(low, high - 1, -1))
    return Part(f"{low}..{high}", lambda _env: numbers)


def filtered(condition: Part) -> Statement:
    """`FILTER condition`."""
    return Statement(
        f"FILTER {condition.text}",
        lambda rows, _data: [row for row in rows if true(condition.value(row))],
    )


def let(name: str, part: Part) -> Statement:
    """`LET name = part`."""
    return Statement(
        f"LET {name} = {part.text}",
        lambda rows, _data: [row | {name: part.value(row)} for row in rows],
    )


def let_query(name: str, query: Query) -> Statement:
    """`LET name = SORTED((query))`."""
    return Statement(
        f"LET {name} = SORTED(({query.text}))",
        lambda rows, data: [row | {name: in_order(query.values(row, data))} for row in rows],
    )


def sort(keys: Sequence[tuple[Part, bool]]) -> Statement:
    """`SORT key DESC, …`; the flag means descending."""

    def run(rows: list[Env], _data: Data) -> list[Env]:
        for part, descending in reversed(keys):
            keyed = [(by_order(part.value(row)), row) for row in rows]
            keyed.sort(key=itemgetter(0), reverse=descending)
            rows = [row for _, row in keyed]
        return rows

    text = ", ".join(f"{part.text}{' DESC' if descending else ''}" for part, descending in keys)
    return Statement(f"SORT {text}", run)


def limit(offset: int, count: int) -> Statement:
    """`LIMIT offset, count`."""
    return Statement(f"LIMIT {offset}, {count}", lambda rows, _data: rows[offset:][:count])


AGGREGATES: Final[dict[str, Callable[[list[Any]], Any]]] = {
    "COUNT": len,
    "SUM": lambda values: _numbers(values, math.fsum),
    "MIN": lambda values: min(values, key=by_order),
    "MAX": lambda values: max(values, key=by_order),
    "COUNT_DISTINCT": lambda values: len(set_of(values)),
    "SORTED_UNIQUE": lambda values: in_order(different(values)),
}


def _numbers(values: list[Any], add: Callable[[list[Any]], float]) -> Any:
    known = [value for value in values if value is not None]
    plain = all(isinstance(one, int | float) and not isinstance(one, bool) for one in known)
    return add(known) if known and plain else None


@dataclass(frozen=True)
class Collecting:
    """The parts of a COLLECT.

    Attributes:
        groups: Names and what they group by.
        aggregates: Names, functions and what they are given.
        into: A name for each group's `keep`, in order.
        count: A name for how many rows a group has.
    """

    groups: Sequence[tuple[str, Part]] = ()
    aggregates: Sequence[tuple[str, str, Part]] = ()
    into: str | None = None
    keep: Part | None = None
    count: str | None = None

    def statement(self) -> Statement:
        """The statement; behind it a group's members stand sorted, for their order has no say.

        Groups are told apart by order, as the sorted method does.
        """
        listed = ", ".join(f"{name} = {part.text}" for name, part in self.groups)
        text = f"COLLECT {listed}"
        if self.aggregates:
            calls = ", ".join(f"{name} = {call}({of.text})" for name, call, of in self.aggregates)
            text += f" AGGREGATE {calls}"
        if self.into is not None and self.keep is not None:
            text += f" INTO {self.into} = {self.keep.text}"
        if self.count is not None:
            text += f" WITH COUNT INTO {self.count}"
        text += ' OPTIONS {method: "sorted"}'
        if self.into is not None and self.keep is not None:
            text += f" LET {self.into}_ = SORTED({self.into})"
        return Statement(text, self._run)

    def _run(self, rows: list[Env], _data: Data) -> list[Env]:
        keyed = [([part.value(row) for _, part in self.groups], row) for row in rows]
        keys = in_order(different(key for key, _ in keyed)) if self.groups else [[]]
        return [
            self._group(key, [row for own, row in keyed if order(own, key) == 0]) for key in keys
        ]

    def _group(self, key: list[Any], rows: list[Env]) -> Env:
        made: Env = dict(zip((name for name, _ in self.groups), key, strict=True))
        for name, function, of in self.aggregates:
            made[name] = AGGREGATES[function]([of.value(row) for row in rows]) if rows else None
        if self.into is not None and self.keep is not None:
            made[f"{self.into}_"] = in_order([self.keep.value(row) for row in rows])
        if self.count is not None:
            made[self.count] = len(rows)
        return made


@dataclass(frozen=True)
class Query:
    """Statements and what is returned.

    Attributes:
        ordered: The rows' order is part of the answer.
    """

    statements: Sequence[Statement]
    returned: Part
    distinct: bool = False
    ordered: bool = False

    @property
    def text(self) -> str:
        """The query as it is written."""
        word = "RETURN DISTINCT" if self.distinct else "RETURN"
        return " ".join([*(one.text for one in self.statements), f"{word} {self.returned.text}"])

    def values(self, env: Env, data: Data) -> list[Any]:
        """The rows that it must give."""
        rows = [env]
        for statement in self.statements:
            rows = statement.run(rows, data)
        values = [self.returned.value(row) for row in rows]
        return set_of(values) if self.distinct else values


# Answers


def same(ours: Any, wanted: Any) -> bool:
    """Whether two values are the same, 1 and 1.0 being one, null and nothing not."""
    if isinstance(wanted, dict):
        return (
            isinstance(ours, dict)
            and ours.keys() == wanted.keys()
            and all(same(ours[name], wanted[name]) for name in wanted)
        )
    if isinstance(wanted, list):
        return (
            isinstance(ours, list)
            and len(ours) == len(wanted)
            and all(same(one, other) for one, other in zip(ours, wanted, strict=True))
        )
    if isinstance(wanted, bool) or isinstance(ours, bool):
        return ours is wanted
    if isinstance(wanted, int | float) and isinstance(ours, int | float):
        return math.isclose(ours, wanted, rel_tol=1e-9)
    return type(ours) is type(wanted) and bool(ours == wanted)


def plain(value: Any) -> Any:
    """One spelling for values that AQL calls equal: without what is null in an object."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items() if item is not None}
    return _without_end([plain(item) for item in value]) if isinstance(value, list) else value


def _without_end(values: list[Any]) -> list[Any]:
    while values and values[-1] is None:
        values.pop()
    return values


def same_rows(ours: list[Any], wanted: list[Any], *, ordered: bool) -> bool:
    """Whether the rows are the same, in whatever order where there is none."""
    if ordered or len(ours) != len(wanted):
        return same(ours, wanted)
    left = list(ours)
    for value in wanted:
        place = next((place for place, one in enumerate(left) if same(one, value)), None)
        if place is None:
            return False
        del left[place]
    return True


@dataclass
class Ids:
    """Fresh names for variables."""

    made: list[str] = field(default_factory=list)

    def next(self) -> str:
        """One more."""
        self.made.append(f"v{len(self.made)}")
        return self.made[-1]
