"""Hostile queries against the allow-list."""

from __future__ import annotations

import pytest

from mallku_contracts.aql.allow import (
    READ_ONLY,
    SAFE_FUNCTIONS,
    Allowance,
    refusals,
    undetermined,
)
from mallku_contracts.aql.functions import ARITIES, GRANTED_ONLY, UNDETERMINED
from mallku_contracts.aql.parsing import parse
from mallku_contracts.errors import InvalidQuery
from tests.contracts.aql_golden import rows

HOSTILE = [
    ("RETURN DOCUMENT('_users/1')", "DOCUMENT"),
    ("RETURN document(@id)", "DOCUMENT"),
    ("RETURN `Document`(@id)", "DOCUMENT"),
    ("RETURN /* DOCUMENT is fine */ DOCUMENT /**/ (@id)", "DOCUMENT"),
    ("RETURN [1][* FILTER DOCUMENT(CURRENT) == null]", "DOCUMENT"),
    ("RETURN [1][* LIMIT LENGTH(DOCUMENT('a/1')) RETURN 1]", "DOCUMENT"),
    ("RETURN {[DOCUMENT('a/1').x]: 1}", "DOCUMENT"),
    ("FOR x IN c SORT DOCUMENT(x) RETURN x", "DOCUMENT"),
    ("FOR x IN c COLLECT AGGREGATE n = SUM(DOCUMENT(x).n) RETURN n", "DOCUMENT"),
    ("FOR x IN c COLLECT k = 1 INTO g = DOCUMENT(x) RETURN g", "DOCUMENT"),
    ("FOR v IN 1..1 OUTBOUND DOCUMENT('a/1') GRAPH 'g' RETURN v", "DOCUMENT"),
    ("FOR v IN OUTBOUND 'a/1' GRAPH 'g' PRUNE DOCUMENT('a/1').x RETURN v", "DOCUMENT"),
    ("UPSERT {a: DOCUMENT('a/1')} INSERT {} UPDATE {} IN c", "DOCUMENT"),
    ("RETURN true ? 1 : DOCUMENT('a/1')", "DOCUMENT"),
    ("RETURN CALL('DOCUMENT', 'a/1')", "CALL"),
    ("RETURN APPLY('DOCUMENT', ['a/1'])", "APPLY"),
    ("RETURN V8(1)", "V8"),
    ("RETURN my::function()", "MY::FUNCTION"),
    ("RETURN `my::function`()", "MY::FUNCTION"),
    ("RETURN _aql::document('a/1')", "_AQL::DOCUMENT"),
    ("RETURN COLLECTIONS()", "COLLECTIONS"),
    ("RETURN COLLECTION_COUNT('secrets')", "COLLECTION_COUNT"),
    ("RETURN FULLTEXT('secrets', 'a', 'b')", "FULLTEXT"),
    ("RETURN NEAR('secrets', 0, 0)", "NEAR"),
    ("RETURN WITHIN('secrets', 0, 0, 1)", "WITHIN"),
    ("RETURN SCHEMA_GET('secrets')", "SCHEMA_GET"),
    ("RETURN PREGEL_RESULT(1)", "PREGEL_RESULT"),
    ("RETURN SLEEP(1000)", "SLEEP"),
    ("RETURN FAIL('x')", "FAIL"),
    ("RETURN ASSERT(false, 'x')", "ASSERT"),
    ("RETURN CURRENT_USER()", "CURRENT_USER"),
    ("RETURN VERSION()", "VERSION"),
    ("FOR v IN OUTBOUND 'a/1' knows RETURN v", "EdgeCollections"),
    ("FOR v IN OUTBOUND 'a/1' @@edges RETURN v", "EdgeCollections"),
    ("FOR v IN OUTBOUND SHORTEST_PATH 'a/1' TO 'b/1' knows RETURN v", "EdgeCollections"),
    ("FOR p IN OUTBOUND K_PATHS 'a/1' TO 'b/1' knows RETURN p", "EdgeCollections"),
    ("REMOVE 'k' IN c OPTIONS {exclusive: true}", "exclusive"),
    ("REMOVE 'k' IN c OPTIONS {['exclusive']: true}", "exclusive"),
    ("REMOVE 'k' IN c OPTIONS {@name: true}", "[computed]"),
    ("REMOVE 'k' IN c OPTIONS {unheardOf: 1}", "unheardOf"),
]


@pytest.mark.parametrize(("text", "name"), HOSTILE)
def test_a_hostile_query_is_refused_by_name(text: str, name: str) -> None:
    """However it is spelled and wherever it hides, what is not listed is found."""
    found = refusals(parse(text), Allowance())
    assert name in {refused.name for refused in found}
    assert all(refused.reason and refused.at.line == 1 for refused in found)


@pytest.mark.parametrize(("text", "name"), HOSTILE)
def test_a_grant_opens_exactly_what_it_names(text: str, name: str) -> None:
    """Granting every other name that a hostile query uses does not help it."""
    found = {refused.name for refused in refusals(parse(text), Allowance())} - {name}
    opened = Allowance().granting(kinds=found, functions=found, options=found)  # type: ignore[arg-type]
    assert {refused.name for refused in refusals(parse(text), opened)} == {name}


def test_nothing_allowed_refuses_everything() -> None:
    """An empty allowance is a refusal, not a hole."""
    nothing = Allowance(frozenset(), frozenset(), frozenset())
    names = [refused.name for refused in refusals(parse("RETURN 1"), nothing)]
    assert sorted(names) == ["Literal", "Query", "Return"]


def test_read_only_refuses_every_write() -> None:
    """In subqueries too."""
    for text in (
        "INSERT {} INTO c",
        "UPDATE 'k' WITH {} IN c",
        "REPLACE 'k' WITH {} IN c",
        "REMOVE 'k' IN c",
        "UPSERT {} INSERT {} UPDATE {} IN c",
        "RETURN (INSERT {} INTO c)",
        "RETURN FIRST(REMOVE 'k' IN c)",
    ):
        assert [refused.what for refused in refusals(parse(text), READ_ONLY)] == ["node"]
        assert refusals(parse(text), Allowance()) == ()


def test_every_refused_item_comes_with_its_place() -> None:
    """In the order of the text, all of them, each once for each place."""
    text = "LET a = DOCUMENT('a/1')\nLET b = SLEEP(1)\nRETURN [a, b, DOCUMENT('a/2')]"
    found = refusals(parse(text), Allowance())
    assert [(refused.name, refused.at) for refused in found] == [
        ("DOCUMENT", (1, 9)),
        ("SLEEP", (2, 9)),
        ("DOCUMENT", (3, 15)),
    ]
    assert str(found[1]) == "function SLEEP, at line 2, column 9: holds a server thread"


def test_what_is_no_function_is_none_for_the_allow_list_too() -> None:
    """A call with a name that is a value does not parse at all."""
    for text in ("RETURN @fn('a')", "LET f = 'DOCUMENT' RETURN (f)('a')", "RETURN 'DOCUMENT'(1)"):
        with pytest.raises(InvalidQuery):
            parse(text)


def test_every_function_is_safe_or_has_a_reason() -> None:
    """There is no third kind."""
    assert SAFE_FUNCTIONS | set(GRANTED_ONLY) == set(ARITIES)
    assert not SAFE_FUNCTIONS & set(GRANTED_ONLY)


def test_ordinary_queries_pass() -> None:
    """Most of what people write needs no grant: all but graphs without name and a few functions."""
    found = {
        refused.name
        for row in rows()
        if "error" not in row
        for refused in refusals(parse(row["query"]), Allowance())
    }
    assert found <= {"EdgeCollection", "EdgeCollections", *GRANTED_ONLY}


@pytest.mark.parametrize("name", sorted(UNDETERMINED))
def test_what_varies_is_refused_where_documents_change(name: str) -> None:
    """The trail has to be able to have it made again; a query that only reads may use it."""
    call = f"{name}({', '.join(['1'] * ARITIES[name][0])})"
    changing = parse(f"FOR d IN c UPDATE d WITH {{n: {call}}} IN c")
    assert [refused.name for refused in undetermined(changing)] == [name]
    assert undetermined(parse(f"FOR d IN c RETURN {call}")) == ()


def test_functions_of_users_are_refused_where_documents_change() -> None:
    """Nobody knows what they do; what depends on its arguments alone is not refused."""
    assert undetermined(parse("FOR d IN c UPDATE d WITH {n: MY::FUN(1)} IN c"))
    assert not undetermined(parse("FOR d IN c UPDATE d WITH {n: SHA256(d.a)} IN c"))
