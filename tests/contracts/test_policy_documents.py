"""Document rules: what is forced, hidden, described, and refused rather than weakened."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from referencing.exceptions import Unresolvable

from mallku_contracts.errors import InvalidArguments, InvalidDocument, PermissionDenied
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.policy import (
    CompiledPolicy,
    DocumentRules,
    DocumentSchema,
    NamedQuery,
    query_digest,
    read_policy,
)
from mallku_contracts.policy.problem import PolicyProblem
from mallku_contracts.policy.shape import check_schema
from mallku_contracts.subjects import CommandSubject

TEXT = """
version: 3
roles:
  narrow:
    rules:
      - id: own
        collections: [notes]
        operations: [get, find, insert, update]
        where: {owner: $principal}
        set: {owner: $principal, tags: [$principal, x]}
        hide: [secret, meta.token]
        max_affected: 5
      - {id: fresh, collections: [fresh], operations: [get], where: {until: {">": $now}}}
      - id: bulk
        collections: [elsewhere]
        operations: [transaction, replace]
        where: {owner: $principal}
        max_affected: 9
      - {id: queries, collections: [notes, open, sealed, shaped], operations: [aql]}
      - {id: rest, collections: [open, sealed, shaped], operations: [read, write]}
  wide:
    rules:
      - {id: all, collections: ["*"], operations: [read, write, admin]}
principals:
  heart: {roles: [narrow]}
  both: {roles: [narrow, wide]}
  keeper: {roles: [wide]}
collections:
  sealed: {immutable: true, audit: digest}
  "shape*": {schema: {type: object, required: [kind]}}
  secret-things: {requires_security: true}
queries:
  mine:
    text: "RETURN [@me + @n, @at]"
    roles: [narrow]
    parameters: [n]
    set: {me: $principal, at: [$now]}
"""
POLICY = CompiledPolicy(read_policy(TEXT))
ROLES = frozenset({"narrow", "wide"})


def bind(who: str, operation: str, collection: str, now_ms: int = 7) -> DocumentRules | None:
    """The document rules of one command."""
    subject = CommandSubject.build(
        who, "main", None if collection == "@" else collection, operation
    )
    grant = POLICY.decide(subject, OPERATIONS[operation], roles=ROLES, issuer="one")
    return grant.bind(who, now_ms)


def test_the_rules_of_the_deciding_rule_are_bound() -> None:
    """A grant carries what its own rule says, with the caller in it; no other rule's."""
    rules = bind("heart", "update", "notes")
    assert rules is not None
    assert rules.rule == "narrow/own"
    assert rules.where is not None
    assert rules.where.matches({"owner": "heart"})
    assert not rules.where.matches({"owner": "both"})
    assert rules.forced == {"owner": "heart", "tags": ["heart", "x"]}
    assert rules.hidden == (("secret",), ("meta", "token"))
    assert (rules.max_affected, rules.schema, rules.immutable) == (5, None, False)
    other = bind("both", "update", "notes")
    assert other is not None
    assert other.forced["owner"] == "both"


def test_what_nothing_restricts_has_no_rules() -> None:
    """A command that no rule restricts costs its executor nothing."""
    assert bind("keeper", "update", "notes") is None
    assert bind("heart", "update", "open") is None


def test_constant_rules_are_made_once_and_now_each_time() -> None:
    """Only `$now` makes new rules for each command."""
    assert bind("heart", "get", "notes", 1) is bind("heart", "get", "notes", 2)
    first, later = bind("heart", "get", "fresh", 1), bind("heart", "get", "fresh", 9)
    assert first is not None
    assert later is not None
    assert first.where is not None
    assert later.where is not None
    assert first.where.matches({"until": 5})
    assert not later.where.matches({"until": 5})


def test_a_command_about_no_collection_is_bound_by_number_alone() -> None:
    """A transaction as such has no document; its steps are decided one by one."""
    rules = bind("heart", "transaction", "@")
    assert rules == DocumentRules("narrow/bulk", max_affected=9)


def test_hidden_fields_leave_no_trace() -> None:
    """Hidden fields are taken out, through lists too, and the original stays as it is."""
    rules = DocumentRules("r", hidden=(("secret",), ("voices", "token"), ("a", "b", "c")))
    document = {
        "_key": "1", "secret": 1, "voices": [{"token": 1, "name": "x"}, 3, [{"token": 2}]],
        "a": {"b": {"c": 1, "d": 2}}, "kept": {"secret": 1},
    }  # fmt: skip
    before = copy.deepcopy(document)
    assert rules.conceal(document) == {
        "_key": "1", "voices": [{"name": "x"}, 3, [{}]], "a": {"b": {"d": 2}},
        "kept": {"secret": 1},
    }  # fmt: skip
    assert document == before
    assert rules.conceal({"voices": "x", "a": [1]}) == {"voices": "x", "a": [1]}


@given(st.dictionaries(st.sampled_from("abc"), st.recursive(
    st.integers(), lambda i: st.lists(i, max_size=2) | st.dictionaries(st.sampled_from("abc"), i)
)))  # fmt: skip
def test_concealing_hides_and_nothing_else(document: dict[str, Any]) -> None:
    """After concealing, the path leads nowhere; what is beside it is unchanged."""
    shown = DocumentRules("r", hidden=(("a", "b"),)).conceal(document)
    inner = shown.get("a")
    assert not isinstance(inner, dict) or "b" not in inner
    assert {k: v for k, v in shown.items() if k != "a"} == {
        k: v for k, v in document.items() if k != "a"
    }
    assert DocumentRules("r").conceal(document) == document


@pytest.mark.parametrize("path", ["meta.token", "meta", "meta.token.deep", ("meta", "token")])
def test_hidden_fields_cannot_be_probed(path: Any) -> None:
    """A filter on a hidden field, on one inside it or around it, is refused."""
    rules = DocumentRules("role/rule", hidden=(("meta", "token"),))
    with pytest.raises(PermissionDenied, match="role/rule hides") as refused:
        rules.refuse_hidden(["kind", path])
    assert refused.value.details["rule"] == "role/rule"
    rules.refuse_hidden(["kind", "meta.tokens", "metas", "token", ("meta", "x")])
    DocumentRules("role/rule").refuse_hidden([path])


@pytest.mark.parametrize("operation", ["update", "replace-match", "delete", "truncate",
                                       "drop-collection", "delete-many"])  # fmt: skip
def test_an_immutable_collection_is_only_added_to(operation: str) -> None:
    """What would change or remove documents of an immutable collection is refused to all."""
    with pytest.raises(PermissionDenied, match="immutable") as refused:
        bind("keeper", operation, "sealed")
    assert refused.value.details["immutable"] is True
    for allowed in ("insert", "insert-many", "upsert", "get", "create-index"):
        rules = bind("keeper", allowed, "sealed")
        assert rules is not None
        assert rules.immutable


def test_a_grant_knows_how_its_collection_is_recorded() -> None:
    """`audit` of the collection is on the grant; what is not said is recorded in full."""
    for collection, expected in (("sealed", "digest"), ("notes", "full")):
        subject = CommandSubject.build("keeper", "main", collection, "insert")
        grant = POLICY.decide(subject, OPERATIONS["insert"], roles=ROLES, issuer="one")
        assert grant.audit == expected


def test_secured_collections_take_secured_documents_alone() -> None:
    """Field names of a secured collection are UUIDs, the store's own, or forced by a rule."""
    rules = bind("keeper", "insert", "secret-things")
    assert rules is not None
    assert rules.schema is not None
    uuid = "0b7b0b5e-8a52-5d5c-9c54-0d1f2f5f4d11"
    rules.schema.check({"_key": "1", uuid: {"plain": 1}, uuid.replace("-", ""): 2, "owner": "x"})
    with pytest.raises(InvalidDocument) as refused:
        rules.schema.check({"_key": "1", uuid: 1, "reciprocity": 3})
    assert refused.value.details == {"field": "reciprocity", "keyword": "requires_security"}


SCHEMA = {
    "type": "object",
    "required": ["kind"],
    "properties": {
        "kind": {"enum": ["khipu", "song"]},
        "weight": {"type": "number", "minimum": 0},
        "voices": {"type": "array", "maxItems": 3, "items": {"$ref": "#/$defs/voice"}},
        "name": {"pattern": "^[a-z]+$"},
        "when": {"format": "date-time"},
        "tags": {"uniqueItems": True},
        "next": {"$ref": "#"},
    },
    "additionalProperties": False,
    "$defs": {"voice": {"type": "object", "required": ["id"]}},
}


@pytest.mark.parametrize(
    ("document", "field", "keyword"),
    [
        ({}, "kind", "required"),
        ({"kind": "war"}, "kind", "enum"),
        ({"kind": "song", "weight": -1}, "weight", "minimum"),
        ({"kind": "song", "weight": True}, "weight", "type"),
        ({"kind": "song", "voices": [{"id": 1}, {}]}, "voices.1.id", "required"),
        ({"kind": "song", "voices": [1, 2, 3, 4]}, "voices", "maxItems"),
        ({"kind": "song", "name": "A"}, "name", "pattern"),
        ({"kind": "song", "name": "a" * 2_000}, "name", "pattern"),
        ({"kind": "song", "when": "2025-08-16T10:00:00"}, "when", "format"),
        ({"kind": "song", "when": "soon"}, "when", "format"),
        ({"kind": "song", "tags": [1, {"a": [2]}, {"a": [2.0]}]}, "tags", "uniqueItems"),
        ({"kind": "song", "more": 1}, "", "additionalProperties"),
        ({"kind": "song", "next": {"kind": "war"}}, "next.kind", "enum"),
    ],
)
def test_a_document_against_its_schema_is_refused(document: Any, field: str, keyword: str) -> None:
    """The refusal names the field's path and the keyword, and repeats no value."""
    with pytest.raises(InvalidDocument) as refused:
        DocumentSchema(SCHEMA).check(document)
    assert refused.value.details == {"field": field, "keyword": keyword}
    assert refused.value.message.startswith(f"{field or 'the document'}: ")
    assert "war" not in refused.value.message
    assert len(refused.value.message) < 500


def test_a_document_by_its_schema_passes() -> None:
    """What is described passes; the store's own attributes are not looked at."""
    DocumentSchema(check_schema(SCHEMA)).check(
        {"_key": "1", "_rev": "x", "kind": "song", "voices": [{"id": 1}], "name": "abc",
         "when": "2025-08-16T10:00:00Z", "tags": [1, True, "1", None, [1]], "weight": 0.5}
    )  # fmt: skip
    DocumentSchema(None).check({"anything": 1})


def test_a_long_list_without_twins_is_looked_at_once() -> None:
    """`uniqueItems` over a caller's long mixed list does not compare each with each."""
    items = [*range(20_000), *({"n": n} for n in range(20_000))]
    DocumentSchema({"properties": {"tags": {"uniqueItems": True}}}).check({"tags": items})


@pytest.mark.parametrize(
    ("schema", "place", "message"),
    [
        ([], (), "a schema is a map"),
        ({}, (), "a schema is a map"),
        ({"requird": ["a"]}, ("requird",), "unknown keyword 'requird'"),
        ({"properties": {"a": {"typ": "x"}}}, ("properties", "a", "typ"), "did you mean 'type'"),
        ({"type": "sting"}, ("type",), "not a JSON Schema"),
        ({"minimum": "1"}, ("minimum",), "not a JSON Schema"),
        ({"properties": {1: {}}}, ("properties", 1), "put it between quotes"),
        ({"pattern": "("}, ("pattern",), "not a pattern"),
        ({"patternProperties": {"[": {}}}, ("patternProperties", "["), "not a pattern"),
        ({"format": "uri"}, ("format",), "format is one of"),
        ({"$id": "http://example.test/x"}, ("$id",), "unknown keyword"),
        ({"$ref": "http://example.test/x"}, ("$ref",), "leads to nothing"),
        ({"$ref": "file:///etc/passwd"}, ("$ref",), "leads to nothing"),
        ({"$ref": "#anchor"}, ("$ref",), "leads to nothing"),
        ({"items": {"$ref": "#/$defs/x"}}, ("items", "$ref"), "leads to nothing"),
        ({"$ref": "#"}, (), "in circles"),
        ({"allOf": [{"$ref": "#"}]}, (), "in circles"),
        (
            {"items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}},
            ("items",),
            "in circles",
        ),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: Any, place: Any, message: str) -> None:
    """A typo, a reference to elsewhere or without end, is found when the policy is read."""
    with pytest.raises(PolicyProblem) as refused:
        check_schema(schema)
    assert message in refused.value.message
    assert refused.value.place == place


def test_checking_a_document_fetches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference to elsewhere, had it got past the check of the policy, is not followed."""
    asked: list[Any] = []
    monkeypatch.setattr("urllib.request.urlopen", asked.append)
    with pytest.raises(Unresolvable):
        DocumentSchema({"$ref": "http://127.0.0.1:1/x"}).check({})
    assert asked == []


def test_a_schema_is_not_nested_without_end() -> None:
    """The depth of a schema is bounded."""
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(60):
        schema = {"not": schema}
    with pytest.raises(PolicyProblem, match="nested deeper"):
        check_schema(schema)


def test_raw_queries_stay_where_nothing_restricts_documents() -> None:
    """A collection is open to raw AQL only if no rule on its documents could be got past."""
    access = POLICY.query_access("heart", "main", "open", roles=ROLES)
    access.refuse_read()
    access.refuse_write("insert")
    assert access.writing["insert"] == "narrow/rest"
    with pytest.raises(PermissionDenied, match="narrow/own: where, narrow/own: hide"):
        POLICY.query_access("heart", "main", "notes", roles=ROLES).refuse_read()
    with pytest.raises(PermissionDenied, match="narrow/own: set"):
        POLICY.query_access("heart", "main", "notes", roles=ROLES).refuse_write("update")
    with pytest.raises(PermissionDenied, match="no rule allows delete"):
        POLICY.query_access("heart", "main", "notes", roles=ROLES).refuse_write("delete")
    with pytest.raises(PermissionDenied, match="no rule allows aql on it") as refused:
        POLICY.query_access("heart", "main", "fresh", roles=ROLES).refuse_read()
    missing = {"operation": "aql", "database": "main", "collection": "fresh"}
    assert refused.value.details == {"missing": missing, "policy_version": 3}


@pytest.mark.parametrize(
    ("collection", "rule"), [("sealed", "sealed: immutable"), ("shaped", "shape.: schema")]
)
def test_raw_queries_write_nothing_that_has_to_be_looked_at(collection: str, rule: str) -> None:
    """Where new versions have to be checked, a raw query may read and not write."""
    access = POLICY.query_access("heart", "main", collection, roles=ROLES)
    access.refuse_read()
    with pytest.raises(PermissionDenied, match=rule):
        access.refuse_write("insert")


def test_a_wider_role_behind_does_not_open_raw_queries() -> None:
    """The rule that decides is the narrow one, so raw AQL stays refused with both roles."""
    with pytest.raises(PermissionDenied):
        POLICY.query_access("both", "main", "notes", roles=ROLES).refuse_read()
    POLICY.query_access("both", "main", "notes", roles=frozenset({"wide"})).refuse_read()


def test_an_approved_query_is_known_by_name_and_text() -> None:
    """Its roles may run it by either; others learn what was missing."""
    digest = query_digest("RETURN [@me + @n, @at]")
    for name in ("mine", digest):
        query = POLICY.query(name, principal="heart", roles=ROLES)
        assert query.text == "RETURN [@me + @n, @at]"
    for who, roles, name in (
        ("keeper", ROLES, "mine"),
        ("heart", frozenset({"wide"}), digest),
        ("heart", ROLES, "other"),
        ("stranger", ROLES, "mine"),
    ):
        with pytest.raises(PermissionDenied, match="policy version 3") as refused:
            POLICY.query(name, principal=who, roles=roles)
        assert refused.value.details["missing"] == {"query": name}


def test_bind_values_are_the_callers_and_the_policys() -> None:
    """The caller gives every parameter and nothing else; what is set cannot be given."""
    query: NamedQuery = POLICY.query("mine", principal="heart", roles=ROLES)
    assert query.bind({"n": 3}, "heart", 7) == {"n": 3, "me": "heart", "at": [7]}
    for given_values, wrong in (
        ({}, {"n": "not given"}),
        ({"n": 1, "me": "mind"}, {"me": "not a parameter of this query"}),
        ({"n": 1, "@c": "x"}, {"@c": "not a parameter of this query"}),
    ):
        with pytest.raises(InvalidArguments) as refused:
            query.bind(given_values, "heart", 7)
        assert refused.value.details == {"fields": wrong}
