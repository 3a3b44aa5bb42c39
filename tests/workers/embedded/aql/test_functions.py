"""The functions: what each gives, and what none does."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mallku_contracts.aql.functions import ARITIES
from mallku_contracts.errors import InvalidQuery, QueryError, QueryFailed, ResourceLimit
from mallku_workers.stores.embedded import values as stored
from mallku_workers.stores.embedded.aql import values as aql
from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.functions import FUNCTIONS, GROUPS, MISSING, look_up
from mallku_workers.stores.embedded.aql.operators import contains, equal
from mallku_workers.stores.embedded.aql.values import group_key
from mallku_workers.stores.embedded.aql.warnings import Warnings
from tests.workers.embedded.aql.reader import evaluate
from tests.workers.embedded.aql.values import VALUES

WITHOUT_DETAILS = {"DATE_LOCALTOUTC", "DATE_UTCTOLOCAL"}
"""Functions that lack their last argument: they tell the time, and nothing about the zone."""

EXAMPLES = {
    # From ArangoDB's manual, where the recorded server is too old to know the function.
    'CONCAT_SEPARATOR(", ", ["foo", "bar", "baz"])': "foo, bar, baz",
    'REPEAT("foo", 3)': "foofoofoo",
    'REPEAT("foo", 3, "-")': "foo-foo-foo",
    'REPEAT("foo", 0)': "",
    'STARTS_WITH("foobar", "foo")': True,
    'STARTS_WITH("foobar", ["x", "foo"])': True,
    'STARTS_WITH("foobar", ["x", "foo"], 2)': False,
    'TO_BASE64("ABC.")': "QUJDLg==",
    'TO_HEX("ABC.")': "4142432e",
    'ENCODE_URI_COMPONENT("fünf %")': "f%C3%BCnf%20%25",
    'CRC32("foobar")': "D5F5C7F",
    'FNV64("foobar")': "85944171F73967E8",
    'SHA256("foobar")': "c3ab8ff13720e8ad9047dd39466b3c8974e592c2fa383d4a3960714caef0c4f2",
    'SOUNDEX("example")': "E251",
    'SOUNDEX("ekzampul")': "E251",
    'SOUNDEX("soundex")': "S532",
    'SOUNDEX("Ashcraft")': "A261",
    'SOUNDEX("")': "",
    'LEVENSHTEIN_DISTANCE("foobar", "bar")': 3,
    'LEVENSHTEIN_DISTANCE("ab", "ba")': 1,
    'LEVENSHTEIN_DISTANCE("der mötör trötet", "der trötet")': 6,
    'LEVENSHTEIN_MATCH("ab", "ba", 1)': True,
    'LEVENSHTEIN_MATCH("ab", "ba", 1, false)': False,
    'REGEX_MATCHES("My-us3r_n4m3", "^[a-z0-9_-]{3,16}$", true)': ["My-us3r_n4m3"],
    'REGEX_MATCHES("#4d82h4", "^#?([a-f0-9]{6}|[a-f0-9]{3})$", true)': None,
    'REGEX_SPLIT("hypertext language, programming", "[\\\\s, ]+")': [
        "hypertext",
        "language",
        "programming",
    ],
    'REGEX_SPLIT("Capture the article", "(the)")': ["Capture ", "the", " article"],
    'REGEX_SPLIT("cA,Bc,A,BcA,BcA,Bc", "a,b", true, 3)': ["c", "c,", "c"],
    'REGEX_REPLACE("foobarbaz", "(ba.)", "[$1]")': "foo[bar][baz]",
    'REGEX_REPLACE("a.b", "\\\\u002e", "$$&")': "a$&b",
    'IPV4_TO_NUMBER("192.168.0.1")': 3232235521,
    "IPV4_FROM_NUMBER(3232235521)": "192.168.0.1",
    'IPV4_TO_NUMBER("256.1.1.1")': None,
    'IS_IPV4("10.1.2.3")': True,
    'IS_IPV4("10.01.2.3")': False,
    'IS_KEY("a key")': False,
    "PRODUCT([1, 2, 3, 4])": 24,
    "PRODUCT([])": 1,
    "COUNT_DISTINCT([1, 1.0, 2, null, null])": 3,
    'SORTED([8, 4, 2, "a", null])': [None, 2, 4, 8, "a"],
    "INTERLEAVE([1, 1, 1], [2, 2, 2], [3, 3, 3])": [1, 2, 3, 1, 2, 3, 1, 2, 3],
    "INTERLEAVE([1], [2, 2], [3, 3, 3])": [1, 2, 3, 2, 3, 3],
    "JACCARD([1, 2, 3, 4], [3, 4, 5, 6])": 0.3333333333333333,
    "JACCARD([], [])": 1,
    'REPLACE_NTH(["a", "b", "c"], 1, "z")': ["a", "z", "c"],
    'REPLACE_NTH(["a", "b", "c"], 3, "z")': ["a", "b", "c", "z"],
    'REPLACE_NTH(["a", "b", "c"], 6, "z", "y")': ["a", "b", "c", "y", "y", "y", "z"],
    'REPLACE_NTH(["a", "b", "c"], -1, "z")': ["a", "b", "z"],
    'REPLACE_NTH(["a", "b", "c"], -9, "z")': ["z", "b", "c"],
    "CONTAINS_ARRAY([1, 2], 2)": True,
    'KEEP_RECURSIVE({a: {b: 1, c: 2}, b: {a: 3}}, "a", "b")': {"a": {"b": 1}, "b": {"a": 3}},
    'KEEP_RECURSIVE([{a: 1}], "a")': None,
    'KEEP_RECURSIVE({a: [{a: 1, b: 2}]}, "a")': {"a": [{"a": 1, "b": 2}]},
    'UNSET_RECURSIVE({a: {b: 1, c: 2}, b: [{b: 1}]}, "b")': {"a": {"c": 2}},
    'VALUE({a: {b: [10, {c: 42}]}}, ["a", "b", 1, "c"])': 42,
    'VALUE({a: 1}, ["x", "y"])': None,
    "ENTRIES({a: 1, b: 2})": [["a", 1], ["b", 2]],
    "KEYS({b: 1, a: 2}, false, true)": ["a", "b"],
    "MERGE_RECURSIVE([{a: {b: 1}}, {a: {c: 2}}])": {"a": {"b": 1, "c": 2}},
    'JSON_PARSE("{\\"a\\": [1, 2.5, null]}")': {"a": [1, 2.5, None]},
    'JSON_PARSE("NaN")': None,
    'JSON_PARSE("1e999")': None,
    "BIT_AND([1, 4, 8, 16])": 0,
    "BIT_AND([3, 7, 63])": 3,
    "BIT_OR(255, 257)": 511,
    "BIT_XOR([1, 4, 8, 16])": 29,
    "BIT_NEGATE(0, 8)": 255,
    "BIT_POPCOUNT(255)": 8,
    "BIT_SHIFT_LEFT(2, 30, 31)": 0,
    "BIT_SHIFT_RIGHT(33, 1, 16)": 16,
    "BIT_TEST(255, 7)": True,
    "BIT_TO_STRING(7, 4)": "0111",
    'BIT_FROM_STRING("0111")': 7,
    "BIT_CONSTRUCT([1, 2, 3])": 14,
    "BIT_DECONSTRUCT(14)": [1, 2, 3],
    "BIT_AND(-1, 1)": None,
    "BIT_AND(4294967296, 1)": None,
    "COSINE_SIMILARITY([0, 1], [1, 0])": 0,
    "COSINE_SIMILARITY([[0, 1, 0, 1], [1, 0, 0, 1]], [1, 1, 1, 1])": [
        0.7071067811865475,
        0.7071067811865475,
    ],
    "L1_DISTANCE([-1, -1], [2, 2])": 6,
    "L2_DISTANCE([1, 1], [5, 2])": 4.123105625617661,
    "DECAY_GAUSS(41, 40, 5, 5, 0.5)": 1,
    "DECAY_GAUSS([20, 41], 40, 5, 5, 0.5)": [0.0019531250000000017, 1.0],
    "DECAY_EXP(2, 0, 10, 0, 0.2)": 0.7247796636776955,
    "DECAY_LINEAR(5, 0, 10, 0, 0.2)": 0.6,
    'DATE_TRUNC("2017-02-03", "month")': "2017-02-01T00:00:00.000Z",
    'DATE_TRUNC("2017-02-03 04:05:06", "hours")': "2017-02-03T04:00:00.000Z",
    'DATE_TRUNC("2025-03-05", "week")': "2025-03-03T00:00:00.000Z",
    'DATE_ROUND("2000-04-28T11:11:11.111Z", 1, "day")': "2000-04-28T00:00:00.000Z",
    'DATE_ROUND("2000-04-10T11:39:29Z", 15, "minutes")': "2000-04-10T11:30:00.000Z",
    'DATE_ISOWEEKYEAR("2027-01-01")': {"year": 2026, "week": 53},
    'DATE_UTCTOLOCAL("2020-03-15T00:00:00.000", "Europe/Berlin")': "2020-03-15T01:00:00.000",
    'DATE_UTCTOLOCAL("2020-10-14T01:00:00.999Z", "America/New_York")': "2020-10-13T21:00:00.999",
    'DATE_LOCALTOUTC("2020-10-14T01:00:00.999", "America/New_York")': "2020-10-14T05:00:00.999Z",
    'DATE_UTCTOLOCAL("2020-03-15", "../etc/passwd")': None,
    'DATE_HOUR("2020-03-15T00:00:00.000", "Europe/Berlin")': 1,
    'DATE_ADD("2025-03-29T12:00:00", 1, "day", "Europe/Berlin")': "2025-03-30T11:00:00.000Z",
    "GEO_POINT(1.0, 2.0)": {"type": "Point", "coordinates": [1, 2]},
    "GEO_POINT(200, 2)": None,
    "ROUND(GEO_DISTANCE([0, 0], GEO_POINT(90, 0)))": 10007543,
    "GEO_IN_RANGE([0, 0], [1, 0], 100000, 200000)": True,
    "GEO_LINESTRING([[35, 10], [45, 45]])": {
        "type": "LineString",
        "coordinates": [[35, 10], [45, 45]],
    },
    "GEO_LINESTRING([[35, 10]])": None,
    "GEO_POLYGON([[0, 0], [0, 1], [1, 0], [0, 0]])": {
        "type": "Polygon",
        "coordinates": [[[0, 0], [0, 1], [1, 0], [0, 0]]],
    },
    "GEO_POLYGON([[0, 0], [0, 1], [1, 0], [1, 1]])": None,
    "IS_IN_POLYGON([[0, 0], [0, 10], [10, 10], [10, 0]], 4, 7)": True,
    "IS_IN_POLYGON([[0, 0], [0, 10], [10, 10], [10, 0]], [11, 7])": False,
    "IN_RANGE(4, 3, 5, true, true)": True,
    'IN_RANGE("a", "a", "b", false, true)': False,
    'PARSE_KEY("people/inti")': "inti",
    'PARSE_COLLECTION({_id: "people/inti"})': "people",
    'IS_SAME_COLLECTION({_id: "people/a"}, "people/b")': True,
    "DATE_NOW()": 1740000000000,
    "FIRST_DOCUMENT(1, [], {a: 1})": {"a": 1},
    "CHECK_DOCUMENT({})": True,
    "HASH([1, {a: 2}]) == HASH([1.0, {a: 2.0}])": True,
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_of_the_manual(text: str) -> None:
    """What ArangoDB's manual says that each gives."""
    result = evaluate(f"RETURN {text}", Call(now_ms=1_740_000_000_000))
    assert (
        result == pytest.approx(EXAMPLES[text]) if _is_float(result) else EXAMPLES[text] == result
    )


def _is_float(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, list) and any(map(_is_float, value)))


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, list[Any]]:
    """A function and as many arguments as it may take, of any types."""
    function = FUNCTIONS[draw(st.sampled_from(sorted(FUNCTIONS)))]
    most = min(function.max_args, function.min_args + 3)
    return function.name, draw(st.lists(VALUES, min_size=function.min_args, max_size=most))


@settings(max_examples=3_000, deadline=None)
@given(calls())
def test_no_function_raises_but_coded_errors(call: tuple[str, list[Any]]) -> None:
    """Whatever the arguments; they stay as they are, and the result is a value of AQL."""
    name, arguments = call
    before = copy.deepcopy(arguments)
    surroundings = Call(max_text=10_000, max_items=1_000, rng=random.Random(1))
    try:
        result = FUNCTIONS[name].call(surroundings, *arguments)
    except QueryError:
        return
    assert arguments == before
    check_value(result)
    if FUNCTIONS[name].deterministic:
        again = FUNCTIONS[name].call(surroundings, *copy.deepcopy(arguments))
        assert group_key(again) == group_key(result)


def check_value(value: Any) -> None:
    """Plain, finite, and of at most 64 bits."""
    if type(value) is list:
        for item in value:
            check_value(item)
    elif type(value) is dict:
        assert all(type(name) is str for name in value)
        check_value(list(value.values()))
    elif type(value) is int:
        assert -(2**63) <= value < 2**64
    else:
        assert value is None or type(value) in (bool, float, str)
        assert type(value) is not float or math.isfinite(value)


def test_names_and_numbers_of_arguments_are_the_languages() -> None:
    """Nothing is called otherwise than the language calls it, and every gap is listed."""
    assert set(FUNCTIONS) <= set(ARITIES)
    store = {"DOCUMENT", "COLLECTION_COUNT", "COLLECTIONS"}
    missing = {name for names in MISSING.values() for name in names}
    assert set(ARITIES) - set(FUNCTIONS) - store <= missing
    assert not missing & set(FUNCTIONS)
    assert sum(map(len, GROUPS.values())) == len(FUNCTIONS)
    for name in FUNCTIONS:
        least, most = ARITIES[name]
        most -= name in WITHOUT_DETAILS
        assert (FUNCTIONS[name].min_args, FUNCTIONS[name].max_args) == (least, most), name


@pytest.mark.parametrize(("name", "count", "code"), [("NOPE", 1, 1540), ("LEFT", 1, 1541)])
def test_a_call_that_cannot_be_is_refused_by_number(name: str, count: int, code: int) -> None:
    """Unknown, or with too few arguments."""
    with pytest.raises(InvalidQuery) as refused:
        look_up(name, count)
    assert refused.value.error_code == code


@pytest.mark.parametrize(
    "text",
    [
        'REPEAT("x", 1e9)', "RANGE(1, 1e12)", "RANGE(0, 1, 5e-324)", 'REPEAT("", 1e12)',
        "REPLACE_NTH([], 1e12, 1, 1)", 'CONCAT(REPEAT("x", 4e6), REPEAT("x", 4e6))',
        'SUBSTITUTE(REPEAT("x", 1e5), "x", REPEAT("y", 1e3))',
        'REGEX_REPLACE(REPEAT("x", 1e5), "x", REPEAT("y", 1e3))',
        'LEVENSHTEIN_DISTANCE(REPEAT("x", 1e5), REPEAT("y", 1e5))', 'CRC32(REPEAT("x", 4e6))',
    ],
)  # fmt: skip
def test_small_calls_do_not_make_large_values(text: str) -> None:
    """Each would take all memory, or all time."""
    with pytest.raises(ResourceLimit):
        evaluate(f"RETURN {text}", Call())


WALKS: dict[str, Callable[[Any], Any]] = {
    "==": lambda value: equal(value, [value]),
    "IN": lambda value: contains(value, [[value]], Call()),
    "TO_STRING": lambda value: FUNCTIONS["TO_STRING"].call(Call(), value),
    "UNIQUE": lambda value: FUNCTIONS["UNIQUE"].call(Call(), [value]),
    "HASH": lambda value: FUNCTIONS["HASH"].call(Call(), value),
    "KEEP_RECURSIVE": lambda value: FUNCTIONS["KEEP_RECURSIVE"].call(Call(), value, "a", "c"),
    "UNSET_RECURSIVE": lambda value: FUNCTIONS["UNSET_RECURSIVE"].call(Call(), {"a": value}, "b"),
    "MERGE_RECURSIVE": lambda value: FUNCTIONS["MERGE_RECURSIVE"].call(
        Call(), {"a": value}, {"a": value}
    ),
}
"""What walks through a whole value."""


@pytest.mark.parametrize("walk", WALKS)
def test_a_value_that_holds_itself_many_times_is_refused(
    walk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty levels of two are a million millions, though they take no memory at all."""
    monkeypatch.setattr(stored, "MAX_KEY_BYTES", 100_000)  # sooner, that is all
    monkeypatch.setattr(aql, "MAX_JSON_CHARS", 100_000)
    lists: Any = [1, 1]
    objects: Any = {"a": 1, "c": 1}
    for _ in range(40):
        lists, objects = [lists, lists], {"a": objects, "c": objects}
    value = objects if "RECURSIVE" in walk else lists
    with pytest.raises(ResourceLimit):
        WALKS[walk](value)


@pytest.mark.parametrize("walk", WALKS)
def test_a_value_that_is_nested_too_deeply_is_refused(walk: str) -> None:
    """A long query can nest deeper than Python can walk."""
    lists: Any = [1]
    objects: Any = {"a": 1}
    for _ in range(5_000):
        lists, objects = [lists], {"a": objects}
    with pytest.raises(ResourceLimit):
        WALKS[walk](objects if "RECURSIVE" in walk else lists)


def test_json_is_read_only_so_deep() -> None:
    """Deeper than a document may be is null."""
    for depth in (65, 100_000):
        call = Call()
        assert FUNCTIONS["JSON_PARSE"].call(call, "[" * depth + "]" * depth) is None
        assert call.warnings.codes == {1542}
    assert FUNCTIONS["JSON_PARSE"].call(Call(), "[" * 64 + "]" * 64) is not None


def test_characters_come_out_in_halves_and_join_again() -> None:
    """Strings are cut between UTF-16 units, as on the server."""
    halves = evaluate('RETURN SPLIT("🔥a", "")', Call())
    assert halves == ["\ud83d", "\udd25", "a"]
    assert FUNCTIONS["CONCAT"].call(Call(), *halves) == "🔥a"
    assert evaluate('RETURN REVERSE("🔥a")', Call()) == "a\udd25\ud83d"


def test_functions_can_end_a_query() -> None:
    """FAIL and ASSERT do, under their numbers; WARN only says so."""
    for text, code in (('FAIL("no")', 1569), ('ASSERT(1 == 2, "no")', 1589)):
        with pytest.raises(QueryFailed, match="no") as failed:
            evaluate(f"RETURN {text}", Call())
        assert failed.value.error_code == code
    call = Call()
    assert evaluate('RETURN WARN(1 == 2, "careful")', call) is False
    assert list(call.warnings) == [(1588, "careful")]


@pytest.mark.parametrize(
    ("text", "code"),
    [('CALL("CALL", "LOWER")', 1576), ('CALL("NOPE")', 1582), ('APPLY("LEFT", ["a"])', 1541)],
)
def test_calls_by_name_are_checked_like_others(text: str, code: int) -> None:
    """Never themselves, never what is unknown."""
    with pytest.raises(InvalidQuery) as refused:
        evaluate(f"RETURN {text}", Call())
    assert refused.value.error_code == code


def test_warnings_are_few_short_and_different() -> None:
    """However many there are; fatal ones end the query under their number."""
    warnings = Warnings()
    for number in range(100):
        warnings.add(1542, f"{number % 50}" * 1_000)
    assert len(warnings) == 10
    assert all(len(message) == 200 for _, message in warnings)
    with pytest.raises(QueryFailed) as failed:
        Warnings(fatal=True).add(1562, "division by zero")
    assert failed.value.error_code == 1562


def test_random_things_differ() -> None:
    """Even with the same arguments, and they look as they should."""
    call = Call()
    tokens = {FUNCTIONS["RANDOM_TOKEN"].call(call, 20) for _ in range(100)}
    assert {len(token) for token in tokens} == {20}
    assert len(tokens) == 100
    uuids = {FUNCTIONS["UUID"].call(call) for _ in range(100)}
    assert {(len(one), one[14]) for one in uuids} == {(36, "4")}
    assert len(uuids) == 100
