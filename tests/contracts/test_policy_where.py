"""A `where` is one predicate and one AQL filter, and both mean what ArangoDB's order says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mallku_contracts.policy.condition import Condition
from mallku_contracts.policy.contradiction import is_idle, is_impossible
from mallku_contracts.policy.values import Caller, less, same
from mallku_contracts.policy.where import (
    _COMPARED,
    read_where,
)

CALLER = Caller("heart", 7)
FIELDS = ("a", "b", "a.b", "list")


def as_written(value: Any) -> Any:
    """A plain value as it is written in a policy."""
    if isinstance(value, str):
        return f"${value}" if value.startswith("$") else value
    if isinstance(value, list):
        return [as_written(item) for item in value]
    if isinstance(value, dict):
        return {name: as_written(item) for name, item in value.items()}
    return value


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 8), st.sampled_from([0.5, 2.0, -0.0]),
    st.sampled_from(["", "a", "ab", "b", "heart", "é", "$"]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=5,
)
documents = st.dictionaries(st.sampled_from(["a", "b", "list"]), values, max_size=3)
written = values.map(as_written) | st.sampled_from(["$principal", "$now"])
orderable = st.sampled_from([None, False, True, -1, 0, 2, 2.5, "$now"])


operators = st.one_of(
    st.tuples(st.sampled_from(["==", "!=", "has"]), written),
    st.tuples(st.sampled_from(["<", "<=", ">", ">="]), orderable),
    st.tuples(st.sampled_from(["in", "not_in"]), st.lists(written, min_size=1, max_size=3)),
    st.tuples(st.just("prefix"), st.sampled_from(["a", "ab", "é"])),
    st.tuples(st.just("exists"), st.booleans()),
)
fields = st.dictionaries(
    st.sampled_from(FIELDS),
    st.lists(operators, min_size=1, max_size=2).map(dict),
    min_size=1,
    max_size=2,
)
wheres = st.recursive(
    fields,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: {"all": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        inner.map(lambda part: {"not": part}),
        st.tuples(inner, fields).map(lambda two: {"not": two[0], **two[1]}),
    ),
    max_leaves=5,
)


def order(value: Any) -> tuple[Any, ...]:
    """A key that sorts as ArangoDB does, texts by code point."""
    if value is None:
        return (0,)
    if isinstance(value, bool):
        return (1, value)
    if isinstance(value, int | float):
        return (2, value)
    if isinstance(value, str):
        return (3, value)
    if isinstance(value, list):
        items = [order(item) for item in value]
        while items and items[-1] == (0,):
            items.pop()
        return (4, tuple(items))
    return (5, tuple(sorted((k, order(v)) for k, v in value.items() if v is not None)))


def dig(document: Any, path: str) -> Any:
    """The value at a dotted path."""
    for step in path.split("."):
        document = document.get(step) if isinstance(document, dict) else None
    return document


def said(value: Any) -> Any:
    """What a value of a policy stands for, with `CALLER` in it."""
    if isinstance(value, list):
        return [said(item) for item in value]
    if isinstance(value, dict):
        return {name: said(item) for name, item in value.items()}
    if isinstance(value, str) and value.startswith("$"):
        return {"$principal": "heart", "$now": 7}.get(value, value[1:])
    return value


def oracle(where: Mapping[str, Any], document: Any) -> bool:
    """What a `where` means, read straight off the document that a person wrote."""
    return all(_entry(key, item, document) for key, item in where.items())


def _entry(key: str, item: Any, document: Any) -> bool:
    if key == "all":
        return all(oracle(part, document) for part in item)
    if key == "any":
        return any(oracle(part, document) for part in item)
    if key == "not":
        return not oracle(item, document)
    found = dig(document, key)
    return all(_compared(found, word, said(value)) for word, value in item.items())


def _compared(found: Any, word: str, value: Any) -> bool:  # noqa: PLR0911 - a table
    here, there = order(found), order(value)
    match word:
        case "==" | "!=":
            return (here == there) == (word == "==")
        case "<" | ">=":
            return (here < there) == (word == "<")
        case ">" | "<=":
            return (here > there) == (word == ">")
        case "in" | "not_in":
            return (here in [order(item) for item in value]) == (word == "in")
        case "has":
            return isinstance(found, list) and there in [order(item) for item in found]
        case "prefix":
            return isinstance(found, str) and found.startswith(value)
        case _:
            return (found is not None) is value


class Aql:
    """A value with AQL's operators, so that a filter can be read as an expression."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.key = order(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Aql) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __lt__(self, other: Aql) -> bool:
        return bool(self.key < other.key)

    def __le__(self, other: Aql) -> bool:
        return bool(self.key <= other.key)

    def __contains__(self, other: Aql) -> bool:
        return isinstance(self.value, list) and other.key in map(order, self.value)


TOKENS = re.compile(
    r"(?P<field>d(?:\.`[^`]+`)+)|@(?P<bind>w\d+)|(?P<word>NOT IN|NOT|AND|OR|IN)\b"
    r"|(?P<call>IS_STRING|STARTS_WITH)|(?P<mark>[()<>=!,]=?| )"
)


def ask_aql(condition: Condition, document: Any) -> bool:
    """What the AQL filter says about a document, every token of it accounted for."""
    text, binds = condition.to_aql("d", "w")
    expression, used, at = "", set[str](), 0
    while at < len(text):
        token = TOKENS.match(text, at)
        assert token is not None, text[at:]
        at = token.end()
        if token["field"]:
            steps = re.findall("`([^`]+)`", token["field"])
            expression += f"field({'.'.join(steps)!r})"
        elif token["bind"]:
            used.add(token["bind"])
            expression += f"bind({token['bind']!r})"
        else:
            expression += token[0].lower()
    assert used == binds.keys()
    names = {
        "field": lambda path: Aql(dig(document, path)),
        "bind": lambda name: Aql(binds[name]),
        "is_string": lambda one: isinstance(one.value, str),
        "starts_with": lambda one, other: one.value.startswith(other.value),
    }
    return bool(eval(expression, {"__builtins__": {}}, names))  # noqa: S307 - of known tokens alone


@given(wheres, st.lists(documents, min_size=1, max_size=4))
@example({"a": {"<": 2}}, [{}, {"a": None}, {"a": "x"}, {"a": [1]}])
@example({"not": {"a": {"prefix": "a"}}}, [{"a": 1}, {"a": "ab"}])
@example({"a": {"==": [1, "$principal"]}}, [{"a": [1.0, "heart", None]}])
def test_predicate_filter_and_meaning_are_one(where: Any, found: list[Any]) -> None:
    """For any condition and document, predicate, AQL text and a plain reading say the same."""
    condition = read_where(where).bind(CALLER)
    for document in found:
        expected = oracle(where, document)
        assert condition.matches(document) == expected
        assert condition.opposite().matches(document) != expected
        assert ask_aql(condition, document) == expected
        assert ask_aql(condition.opposite(), document) != expected


SAMPLES: list[Any] = [
    None, False, True, -1, 0, 0.5, 1, 1.0, 2, "", "a", "ab", "heart", [], [None], [1], [1, None],
    ["a"], [None, 1], {}, {"a": None}, {"a": 1}, {"a": 1, "b": None},
]  # fmt: skip


@pytest.mark.parametrize("word", _COMPARED)
def test_each_operator_is_one_for_every_kind_of_value(word: str) -> None:
    """Each operator beside each kind of value, at and around equality, is read alike thrice."""
    asked: dict[str, list[Any]] = {
        "in": [[value] for value in SAMPLES],
        "not_in": [[value, 7] for value in SAMPLES],
        "prefix": ["a", "ab"],
        "exists": [True, False],
    }
    plain = [value for value in SAMPLES if not isinstance(value, str | list | dict)]
    given_values = asked.get(word, plain if word[0] in "<>" else SAMPLES)
    for value in given_values:
        where = {"a": {word: value}}
        condition = read_where(where)
        for found in SAMPLES:
            document = {"a": found}
            expected = oracle(where, document)
            assert condition.matches(document) == expected, (where, document)
            assert ask_aql(condition, document) == expected, (where, document)
        assert condition.matches({}) == condition.matches({"a": None})


@given(values, values)
def test_values_compare_as_in_arangodb(one: Any, other: Any) -> None:
    """Equality holds for all values, order wherever no two texts, lists or maps meet."""
    assert same(one, other) == (order(one) == order(other))
    if order(one)[0] != order(other)[0] or order(one)[0] < 3:
        assert less(one, other) == (order(one) < order(other))


@given(wheres, st.lists(documents, min_size=3, max_size=8), st.sampled_from(["heart", "a", "x"]),
       st.integers(0, 9))  # fmt: skip
def test_what_is_called_impossible_is(
    where: Any, found: list[Any], principal: str, now_ms: int
) -> None:
    """No document meets an impossible condition, and every document an idle one."""
    condition = read_where(where)
    bound = condition.bind(Caller(principal, now_ms))
    if is_impossible(condition):
        assert not any(map(bound.matches, found))
    if is_idle(condition):
        assert all(map(bound.matches, found))


def test_variables_are_put_in_at_the_last_moment() -> None:
    """One condition serves every caller; `$$` stands for a plain dollar."""
    condition = read_where({"owner": "$principal", "until": {">": "$now"}, "tag": "$$now"})
    document = {"owner": "mind", "until": 8, "tag": "$now"}
    assert condition.bind(Caller("mind", 7)).matches(document)
    assert not condition.bind(Caller("mind", 8)).matches(document)
    assert not condition.bind(CALLER).matches(document)
    text, binds = condition.bind(Caller("x' OR true", 1)).to_aql("doc", "p_")
    assert text == "((doc.`owner` == @p_0) AND (doc.`until` > @p_1) AND (doc.`tag` == @p_2))"
    assert binds == {"p_0": "x' OR true", "p_1": 1, "p_2": "$now"}


def test_fields_are_listed_and_quoted() -> None:
    """Whoever enforces a condition knows what it looks at; a back-ticked word is a field."""
    where = {"`any`": 1, "meta.0f-1": 2, "any": [{"x y": 1}, {"{b}": 1}]}
    condition = read_where(where)
    assert condition.fields == {("any",), ("meta", "0f-1"), ("x y",), ("{b}",)}
    assert "d.`meta`.`0f-1` == @w1" in condition.to_aql("d", "w")[0]
    assert condition.matches({"any": 1, "meta": {"0f-1": 2}, "{b}": 1})
