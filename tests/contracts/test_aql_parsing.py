"""What a text means, and how a wrong one is refused."""

from __future__ import annotations

import contextlib
import logging
import re
import subprocess
import sys
from typing import Any

import lark
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.aql import tree as t
from mallku_contracts.aql.grammar import GRAMMAR
from mallku_contracts.aql.lexer import MAX_NESTING, MAX_QUERY_CHARS, MAX_QUERY_TOKENS
from mallku_contracts.aql.machine import _Words
from mallku_contracts.aql.parsing import parse
from mallku_contracts.aql.printing import to_text
from mallku_contracts.aql.resolve import MAX_TREE_DEPTH
from mallku_contracts.errors import InvalidQuery, NotSupported

SYNTAX = 1501
TOO_DEEP = 1524


def value(text: str) -> Any:
    """The expression that `RETURN text` returns."""
    statement = parse(f"RETURN {text}").statements[-1]
    assert isinstance(statement, t.Return)
    return statement.value


def refusal(text: str) -> InvalidQuery:
    """What `text` is refused with."""
    with pytest.raises(InvalidQuery) as raised:
        parse(text)
    return raised.value


@pytest.mark.parametrize(
    ("flat", "grouped"),
    [
        ("1 + 2 * 3", "1 + (2 * 3)"),
        ("1 - 2 - 3", "(1 - 2) - 3"),
        ("1 .. 2 + 3", "1 .. (2 + 3)"),
        ("NOT a == b", "(NOT a) == b"),
        ("NOT a IN b", "(NOT a) IN b"),
        ("- a.b[0]", "-(a.b[0])"),
        ("a OR b AND c", "a OR (b AND c)"),
        ("a == b < c", "a == (b < c)"),
        ("a == b IN c", "a == (b IN c)"),
        ("a IN b < c", "a IN (b < c)"),
        ("a < b == c", "(a < b) == c"),
        ("a AND b ANY == c", "a AND (b ANY == c)"),
        ("a == b ANY == c", "(a == b) ANY == c"),
        ("a ANY == b == c", "(a ANY == b) == c"),
        ("a ANY == b < c", "a ANY == (b < c)"),
        ("a == b AT LEAST (2) == c", "(a == b) AT LEAST (2) == c"),
        ("a == b NOT LIKE c", "a == (b NOT LIKE c)"),
        ("a NOT LIKE b == c", "(a NOT LIKE b) == c"),
        ("a ? b : c ? d : e", "a ? b : (c ? d : e)"),
        ("a ? b ? c : d : e", "a ? (b ? c : d) : e"),
        ("a ?: b ?: c", "a ?: (b ?: c)"),
        ("a OR b ? c : d", "(a OR b) ? c : d"),
        ("a || b && !c", "a OR (b AND (NOT c))"),
        ("a =~ b AND c !~ d", "(a =~ b) AND (c !~ d)"),
        ("a NOT =~ b", "a !~ b"),
    ],
)
def test_operators_bind_as_in_arangodb(flat: str, grouped: str) -> None:
    """Without parentheses an expression means what ArangoDB's table of precedence says."""
    assert value(flat) == value(grouped)


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("0x1F", 31),
        ("0b101", 5),
        ("1e3", 1000.0),
        ("1.5E-2", 0.015),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", 2.0**63),
        ("nULL", None),
        ("True", True),
        (r'"a\"\\\/\b\f\n\r\t"', 'a"\\/\b\f\n\r\t'),
        (r"'\u00e9\ud83d\ude00\q'", "é😀q"),
        ('"two\nlines"', "two\nlines"),
    ],
)
def test_literals_have_their_value_and_type(text: str, literal: object) -> None:
    """Numbers of every notation, escapes, and words of any case."""
    read = value(text)
    assert read == t.Literal(literal)  # type: ignore[arg-type]
    assert type(read.value) is type(literal)


def test_a_number_beyond_a_double_is_null_and_says_so() -> None:
    """The evaluator can warn, because the tree remembers."""
    assert value("1e999") == t.Literal(None, overflow=True)
    assert value("9" * 400) == t.Literal(None, overflow=True)


def test_one_true_and_one_point_zero_are_three_literals() -> None:
    """A cache of trees never takes one for another."""
    assert len({t.Literal(1), t.Literal(1.0), t.Literal(True)}) == 3


def test_an_expansion_takes_what_follows_into_its_tail() -> None:
    """`[*].a[0]` works on each element; parentheses end that."""
    people = t.Collection("people")
    name = t.Attribute(t.Item(), "a")
    assert value("people[*].a[0]") == t.Expansion(people, 1, t.Index(name, t.Literal(0)))
    assert value("(people[*].a)[0]") == t.Index(t.Expansion(people, 1, name), t.Literal(0))
    inner = t.Expansion(name, 1, t.Attribute(t.Item(), "b"))
    assert value("people[*].a[*].b") == t.Expansion(people, 1, inner)
    flattened = t.Expansion(t.Expansion(people, 1, name), 2, t.Item())
    assert value("people[*].a[**]") == flattened


def test_in_is_an_operator_until_the_collection_comes() -> None:
    """`INSERT a IN b INTO c` writes the answer to `a IN b`; `INSERT a IN b` writes into b."""
    (insert,) = parse("INSERT {x: 1} IN @list INTO c").statements
    assert isinstance(insert, t.Insert)
    assert insert.collection == t.Collection("c")
    assert isinstance(insert.document, t.Binary)
    (plain,) = parse("INSERT {x: 1} IN c").statements
    assert plain == t.Insert(t.ObjectLiteral((t.Member("x", t.Literal(1)),)), t.Collection("c"))


def test_soft_keywords_are_names_elsewhere() -> None:
    """OPTIONS, PRUNE, KEEP, COUNT, TO and SEARCH can be variables and attributes."""
    text = "FOR options IN 1..2 LET keep = options, prune = 1 RETURN {keep, to: prune, count: 1}"
    assert [type(each) for each in parse(text).statements] == [t.For, t.Let, t.Let, t.Return]


def test_a_traversal_has_all_its_parts() -> None:
    """Directions for each edge collection, PRUNE with a variable, and OPTIONS."""
    text = (
        "FOR v, e, p IN @lo..5 ANY @start knows, INBOUND @@more, @plain "
        "PRUNE done = v.x == 1 OPTIONS {order: 'bfs'} FILTER done RETURN p"
    )
    loop = parse(text).statements[0]
    assert isinstance(loop, t.Traversal)
    assert (loop.minimum, loop.maximum) == (t.BindParameter("lo"), t.Literal(5))
    assert loop.graph == t.EdgeCollections(
        (
            t.EdgeCollection(t.Collection("knows")),
            t.EdgeCollection(t.CollectionBind("more"), "INBOUND"),
            t.EdgeCollection(t.CollectionBind("plain", plain=True)),
        )
    )
    assert loop.prune is not None
    assert loop.prune.variable == "done"
    assert loop.options == t.ObjectLiteral((t.Member("order", t.Literal("bfs")),))


@pytest.mark.parametrize(
    ("text", "line", "column", "near"),
    [
        ("RETURN 1 +", 1, 11, None),
        ("FOR x IN [1]\n  WHERE x == 1\n  RETURN x", 2, 3, "WHERE"),
        ("RETURN [1,\n 2", 2, 3, None),
        ("RETURN {a: }", 1, 12, "}"),
        ('/* é */ RETURN "é" "b"', 1, 20, '"b"'),
        ("RETURN 1 # x", 1, 10, "# x"),
        ("RETURN 'open", 1, 8, "'open"),
        ("", 1, 1, None),
        (" // nothing", 1, 12, None),
        ("RETURN 1 RETURN 2", 1, 10, "RETURN 2"),
        (r'RETURN "\ud800"', 1, 8, r'"\ud800"'),
        ("FOR a, b IN c RETURN a", 1, 8, "b"),
        ("FOR v IN OUTBOUND SHORTEST_PATH a UPTO b knows RETURN v", 1, 35, "UPTO"),
        ("FOR v IN 1..2 OUTBOUND SHORTEST_PATH 'a' TO 'b' knows RETURN v", 1, 24, "SHORTEST_PATH"),
        ("FOR x IN c OPTIONS 5 RETURN x", 1, 12, "OPTIONS"),
        ("FOR x IN c COLLECT y = x OPTIONS z RETURN y", 1, 26, "OPTIONS"),
        ("UPSERT 5 INSERT {} UPDATE {} IN c", 1, 8, None),
        ("FOR x IN c WINDOW {after: 1} AGGREGATE s = SUM(x) RETURN s", 1, 20, "after"),
        ("LET $NEW = 1 RETURN 1", 1, 5, "$NEW"),
    ],
)
def test_a_syntax_error_points_at_its_place(
    text: str, line: int, column: int, near: str | None
) -> None:
    """Line, column, ArangoDB's number, and the offending text."""
    refused = refusal(text)
    assert refused.error_code == SYNTAX
    assert (refused.details["line"], refused.details["column"]) == (line, column)
    if near is not None:
        assert refused.details["near"].startswith(near)
        assert repr(near)[1:-1] in refused.message


def test_a_syntax_error_says_what_was_expected() -> None:
    """In full where that is a short list, and in a few plain words."""
    assert refusal("FOR x RETURN x").details["expected"] == [",", "IN"]
    assert refusal("RETURN 1 2").details["expected"] == ["end of query"]
    assert "expected" not in refusal("RETURN *").details
    assert "; expected '=', at line 1" in refusal("LET x RETURN x").message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("FOR a b", "',' or IN"),
        ("FOR a IN b FILTER RETURN a", "a value"),
        ("FOR a IN b LIMIT RETURN a", "a number, a string or a bind parameter"),
        ("LET x = 1", "a statement (FILTER, RETURN, …) or ','"),
        ("RETURN {a 1}", "',', ':' or '}'"),
        ("FOR a IN b RETURN", "a value or DISTINCT"),
        ("FOR a IN b", "an operator or a statement (FILTER, RETURN, …)"),
    ],
)
def test_what_was_expected_is_said_in_a_few_words(text: str, told: str) -> None:
    """Never a dozen names of the grammar."""
    assert f"; expected {told}, at line 1, column " in refusal(text).message


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("FOR a IN b FILTRE a.x == 1 RETURN a", "FILTER"),
        ("FOR a IN b\nSROT a.x\nRETURN a", "SORT"),
        ("FOR a IN b SORT a.x DSC RETURN a", "DESC"),
        ("RETRUN 1", "RETURN"),
        ("FOR v IN 1..3 OUTBOND 'x/1' GRAPH 'g' RETURN v", "OUTBOUND"),
        ("FOR a IN b OPTOINS {} RETURN a", "OPTIONS"),
        ("FOR a IN b WHERE a.x == 1 RETURN a", "FILTER"),
        ("SELECT 1", "RETURN"),
        ("FOR a IN b FILTER a.x = 1 RETURN a", "=="),
        ("RETURN LENGHT([])", "LENGTH"),
    ],
)
def test_a_mistyped_word_is_told_with_the_one_that_was_likely_meant(text: str, meant: str) -> None:
    """Also the word of another language, and a function."""
    message = refusal(text).message
    assert message.endswith(f"; did you mean {meant!r}?")
    assert ", at line " in message


@pytest.mark.parametrize("text", ["FOR a IN b xyzzy RETURN a", "RETURN 1 2", "RETURN XYZZY()"])
def test_nothing_is_guessed_where_nothing_is_close(text: str) -> None:
    """A wrong guess would mislead."""
    assert "did you mean" not in refusal(text).message


def test_the_offending_text_is_cut() -> None:
    """A long query does not come back whole in its own error."""
    refused = refusal("RETURN 1 " + "x" * 5_000)
    assert len(refused.message) < 200


@pytest.mark.parametrize(
    ("text", "feature"),
    [
        ("FOR d IN view SEARCH d.a == 1 RETURN d", "SEARCH"),
        ("FOR d IN view SEARCH d.a == 1 OPTIONS {} RETURN d", "SEARCH"),
        ("UPSERT FILTER $CURRENT.a == 1 INSERT {} UPDATE {} IN c", "UPSERT FILTER"),
    ],
)
def test_what_is_not_there_is_named(text: str, feature: str) -> None:
    """A feature that ArangoDB has and the gateway has not is refused by its name."""
    with pytest.raises(NotSupported) as raised:
        parse(text)
    assert raised.value.details["feature"] == feature


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("RETURN NOSUCH()", 1540),
        ("RETURN nosuch(1) }", 1540),
        ("RETURN `no such`()", 1540),
        ("RETURN LENGTH()", 1541),
        ("RETURN PI(1)", 1541),
        ("RETURN LIKE('a')", 1541),
        ("FOR x IN c COLLECT AGGREGATE a = x RETURN a", 1574),
        ("FOR x IN c COLLECT AGGREGATE a = FLOOR(x) RETURN a", 1574),
        ("FOR x IN c COLLECT AGGREGATE a = SUM(x, x) RETURN a", 1541),
        ("FOR x IN c OPTIONS {indexHint: x} RETURN x", 1575),
        ("INSERT {} INTO @c", 1553),
        ("INSERT {} INTO `a b`", 1208),
        ("RETURN `a b`", 1208),
        ("WITH `a b` RETURN 1", 1208),
        ("FOR v IN OUTBOUND 'a/1' `a b` RETURN v", 1208),
    ],
)
def test_what_needs_no_data_is_refused_when_parsed(text: str, number: int) -> None:
    """Functions, arguments, aggregates, options and names, each under ArangoDB's number."""
    assert refusal(text).error_code == number


def nested(opening: str, closing: str, levels: int) -> str:
    """`1` inside that many brackets."""
    return "RETURN " + opening * levels + "1" + closing * levels


SHAPES = [
    ("(", ")", 1),
    ("[", "]", 1),
    ("{a: ", "}", 1),
    ("FIRST(RETURN ", ")", 1),
    ("LENGTH([{a: ", "}])", 3),
    ("(FOR x IN [] LET y = 1 RETURN ", ")", 1),
    ("[1][* FILTER ", "]", 1),
    ("[1][? 1 FILTER ", "]", 1),
    ("FIRST(UPSERT {a: ", "} INSERT {} UPDATE {} IN c)", 2),
]


@pytest.mark.parametrize(("opening", "closing", "brackets"), SHAPES)
def test_deep_brackets_are_refused_not_overflowed(
    opening: str, closing: str, brackets: int
) -> None:
    """However deep, the answer is 1524; as deep as may be, a stack in use already is enough."""
    assert refusal(nested(opening, closing, 3_000)).error_code == TOO_DEEP
    single = opening.replace("FOR x IN [] LET y = 1 ", "")
    query = parse(nested(single, closing, MAX_NESTING // brackets - (brackets > 1)))
    assert parse(to_text(query)) == query


@pytest.mark.parametrize(
    ("text", "longest"),
    [
        ("RETURN 1" + " OR 1" * 7_000, "RETURN 1" + " OR 1" * (MAX_TREE_DEPTH - 1)),
        ("RETURN " + "!" * 10_000 + "1", "RETURN " + "!" * (MAX_TREE_DEPTH - 1) + "1"),
        ("RETURN " + "1 ? 1 : " * 3_000 + "1", "RETURN " + "1 ?: " * 30 + "1"),
        ("RETURN [1]" + ".a" * 8_000, "RETURN [1]" + ".a" * (MAX_TREE_DEPTH - 2)),
        ("RETURN [1]" + "[*]" * 5_000, "RETURN [1]" + "[*]" * (MAX_NESTING - 1)),
        ("RETURN [1]" + "[**]" * 4_000, "RETURN [1]" + "[**]" * 20),
        ("RETURN [1]" + "[?]" * 5_000, "RETURN [1]" + "[?]" * 20),
        ("RETURN 1" + " ANY == 1" * 5_000, "RETURN 1" + " ANY == 1" * 30),
    ],
)
def test_long_chains_are_refused_not_overflowed(text: str, longest: str) -> None:
    """What nests without brackets is measured too, and what is short enough goes through."""
    assert refusal(text).error_code == TOO_DEEP
    query = parse(longest)
    assert parse(to_text(query)) == query


def test_text_and_words_are_bounded() -> None:
    """Both limits say so under 1524, and just below them a query is read."""
    assert refusal("RETURN 1" + " " * MAX_QUERY_CHARS).error_code == TOO_DEEP
    assert refusal("RETURN [" + "1," * MAX_QUERY_TOKENS + "1]").error_code == TOO_DEEP
    items = (MAX_QUERY_TOKENS - 4) // 2
    assert len(value("[" + "1," * items + "]").items) == items


WORDS = """FOR x IN 1 [ ] ( ) { } , : . .. @a @@c RETURN FILTER LET = == COLLECT INTO WITH COUNT
    KEEP AGGREGATE SUM INSERT UPDATE c 'a' * ? ANY ALL NOT OUTBOUND GRAPH SORT DESC LIMIT - !"""
SOUP = st.lists(st.sampled_from(re.findall(r"\S+", WORDS)), max_size=30).map(" ".join)


@given(st.text(max_size=60) | SOUP)
def test_any_text_is_a_query_or_a_coded_refusal(text: str) -> None:
    """No text whatever makes the parser fail in another way."""
    with contextlib.suppress(InvalidQuery, NotSupported):
        query = parse(text)
        assert parse(to_text(query)) == query


def test_the_grammar_has_no_conflicts(caplog: pytest.LogCaptureFixture) -> None:
    """LALR(1) without a doubt: the parser never had to choose between two readings."""
    with caplog.at_level(logging.DEBUG, logger=lark.logger.name):
        lark.Lark(GRAMMAR, parser="lalr", lexer=_Words, debug=True)
    assert "conflict" not in caplog.text


def test_who_does_not_parse_does_not_pay_for_it() -> None:
    """Importing the tree, the analysis or `parse` itself loads no parser."""
    program = (
        "import sys, mallku_contracts.aql.parsing, mallku_contracts.aql.analysis\n"
        "import mallku_contracts.aql.allow, mallku_contracts.aql.printing\n"
        "print('lark' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert ran.stdout.split() == [b"False"]
