"""Checking a policy: what is wrong is refused with its place, what is odd is said with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mallku_contracts.policy import PolicyError, check_policy, read_policy

ROOT = Path(__file__).resolve().parents[2]

GOOD = """version: 1
roles:
  writer:
    rules:
      - id: own
        collections: [notes, "log_*"]
        operations: [read, insert, update]
        where: {owner: $principal}
        set: {owner: $principal}
        hide: [secret]
        max_affected: 3
    limits: {rate_per_s: 10, write: {burst: 5}}
principals:
  mallku: {roles: [writer]}
collections:
  notes:
    schema: {type: object}
    immutable: false
queries:
  recent:
    text: RETURN @n
    roles: [writer]
    parameters: [n]
"""


def test_a_good_policy_has_no_warnings() -> None:
    """What is meant as it stands is passed over in silence; so is the policy that we ship."""
    assert check_policy(GOOD)[1] == []
    shipped = (ROOT / "deploy/mallku_deploy/default_policy.yaml").read_text("utf-8")
    assert check_policy(shipped)[1] == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("where: {owner: $principal}", "where: {}", "8:9: roles.writer.rules.0.where: an empty"),
        ("where: {owner: $principal}", "where: {owner: {is: 1}}",
         "8:25: roles.writer.rules.0.where.owner.is: unknown operator 'is'"),
        ("where: {owner: $principal}", "where: {any: [{a: 1}, {b: {'<': x}}]}",
         "8:36: roles.writer.rules.0.where.any.1.b.<: a range takes"),
        ("where: {owner: $principal}", "where: {a: 1, not: {a: 1}}",
         "8:9: roles.writer.rules.0.where: contradictory"),
        ("where: {owner: $principal}", "where: {owner: {in: []}}", "8:25: "),
        ("where: {owner: $principal}", "where: {owner: 3}",
         "9:9: roles.writer.rules.0.set: contradictory: where refuses"),
        ("where: {owner: $principal}", "where: {yes: 1}", "True is no field name"),
        ("where: {owner: $principal}", "wher: {}", "8:9: roles.writer.rules.0.wher: there is no"),
        ("set: {owner: $principal}", "set: {_key: x}", "9:15: roles.writer.rules.0.set._key: "),
        ("set: {owner: $principal}", "set: {a.b: x}", "set takes top-level fields"),
        ("set: {owner: $principal}", "set: {a: {b: 1}}", "set takes no maps"),
        ("set: {owner: $principal}", "set: [a]", "set is a map"),
        ("set: {owner: $principal}", "set: {a: .nan}", "cannot be stored"),
        ("hide: [secret]", "hide: [a, _rev]", "10:19: roles.writer.rules.0.hide.1: _rev is part"),
        ("hide: [secret]", "hide: secret", "hide is a list"),
        ("hide: [secret]", "hide: [a.]", "not a path"),
        ("hide: [secret]", "hide: [3]", "3 is no field name"),
        ("max_affected: 3", "max_affected: 0", "11:9: roles.writer.rules.0.max_affected: "),
        ("[read, insert, update]", "[read, admin]",
         "7:9: roles.writer.rules.0.operations: max_affected cannot hold for drop-coll"),
        ("burst: 5", "brst: 5", "12:38: roles.writer.limits.write.brst: there is no such key"),
        ("burst: 5", "payload_bytes: 3000000", "roles.writer.limits.write.payload_bytes: "),
        ("rate_per_s: 10", "runtime_ms: 70000", "roles.writer.limits.runtime_ms: "),
        ("{type: object}", "{type: objct}", "17:14: collections.notes.schema.type: not a JSON"),
        ("{type: object}", "{properties: {a: {tpe: 1}}}",
         "17:31: collections.notes.schema.properties.a.tpe: unknown keyword 'tpe'"),
        ("immutable: false", "audit: some", "18:5: collections.notes.audit: "),
        ("immutable: false", "immutable: 1", "collections.notes.immutable: "),
        ("  notes:\n", "  mallku_x:\n", "belong to the gateway"),
        ("  notes:\n", "  n.s:\n", "not a name or a glob"),
        ("roles: [writer]\n    par", "roles: [writr]\n    par",
         "22:5: queries.recent.roles: there is no role 'writr'; did you mean 'writer'?"),
        ("roles: [writer]\n    par", "roles: []\n    par", "queries.recent.roles: "),
        ("parameters: [n]", "parameters: ['@c']", "names its collections itself"),
        ("parameters: [n]", "parameters: [n-1]", "not the name of a bind parameter"),
        ("parameters: [n]", "parameters: [n]\n    set: {n: 1}", "'n' is also a parameter"),
        ("parameters: [n]", "parameters: [n]\n    set: {m: $me}",
         "24:11: queries.recent.set.m: unknown variable '$me'"),
        ("parameters: [n]",
         "parameters: [n]\n  again: {text: RETURN @n, roles: [writer], parameters: [n]}",
         "24:11: queries.again.text: the same text as 'recent'"),
        ("text: RETURN @n", "text: RETRUN @n", "queries.recent.text: syntax error near 'RETRUN"),
        ("text: RETURN @n", "text: RETURN FOO(@n)", "recent.text: there is no function FOO"),
        ("text: RETURN @n", "text: RETURN [@n, @m]", "asks for @m, which is no parameter"),
        ("text: RETURN @n", "text: RETURN 1", "parameters: the text does not ask for @n"),
        ("text: RETURN @n", "text: 'FOR d IN mallku_ledger FILTER d.n == @n RETURN d'",
         "queries.recent.text: 'mallku_ledger': names that begin with _ or mallku_"),
        ("text: RETURN @n", "text: 'FOR d IN @@c FILTER d.n == @n RETURN d'",
         "queries.recent.text: @@c: an approved query names its collections itself"),
        ("text: RETURN @n", "text: 'RETURN DOCUMENT(@n, 1)'",
         "queries.recent.text: DOCUMENT at 1:8: an approved query names its collections itself"),
        ("text: RETURN @n", "text: 'LET c = @n RETURN NEAR(c, 1, 1)'",
         "queries.recent.text: NEAR at 1:19: an approved query names its collections itself"),
        ("text: RETURN @n", "text: 'RETURN [@n, COLLECTION_COUNT(\"mallku_ledger\")]'",
         "queries.recent.text: COLLECTION_COUNT at 1:13: names that begin with _ or mallku_"),
        ("text: RETURN @n", "text: 'RETURN [@n, DOCUMENT(\"_users/root\")]'",
         "queries.recent.text: DOCUMENT at 1:13: names that begin with _ or mallku_"),
        ("text: RETURN @n", "text: 'RETURN CALL(\"document\", @n)'",
         "queries.recent.text: CALL() at 1:8: an approved query calls what looks up by its name"),
        ("text: RETURN @n", "text: 'RETURN APPLY(@n, [])'",
         "queries.recent.text: APPLY() at 1:8: an approved query calls what looks up by its name"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_where_it_stands(old: str, new: str, message: str) -> None:
    """A rule, a schema, a limit or a query that is wrong is named with line, column and path."""
    assert old in GOOD
    with pytest.raises(PolicyError) as refused:
        read_policy(GOOD.replace(old, new, 1), "p.yaml")
    assert message in str(refused.value)
    assert all(line.startswith("p.yaml:") for line in str(refused.value).splitlines())


OWN = "      - id: own\n"
MALLKU = "principals:\n  mallku: {roles: [writer]}"
WIDE = "  wide: {rules: [{id: all, collections: ['*'], operations: [read]}]}\n"
BEFORE = "      - {id: before, collections: ['*'], operations: [read]}\n      - id: own\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("principals:", "  idle: {rules: []}\nprincipals:",
         "13:3: roles.idle: the role has no rules and allows nothing"),
        ("principals:", "  idle: {rules: []}\nprincipals:", "13:3: roles.idle: nobody has this"),
        ("principals:", "principals:\n  who: {}", "14:3: principals.who: a caller without roles"),
        ("principals:", "principals:\n  who: {kind: auditor, roles: [writer]}",
         "14:24: principals.who.roles: roles mean nothing"),
        ('[notes, "log_*"]', '[notes, "log_*", log_a]',
         "6:39: roles.writer.rules.0.collections.2: 'log_a' is covered by 'log_*'"),
        ('[notes, "log_*"]', "[notes, notes]", "6:30: roles.writer.rules.0.collections.1: "),
        ("operations: [read, insert, update]", "operations: [get, find]\n        databases: ['@']",
         "8:21: roles.writer.rules.0.databases.0: '@' matches nothing"),
        ("[read, insert, update]", "[read, insert, get]",
         "7:36: roles.writer.rules.0.operations.2: get is part of read"),
        ("[read, insert, update]", "[read]", "9:9: roles.writer.rules.0.set: set has no effect"),
        ("[read, insert, update]", "[read, delete]", "rules.0.set: set has no effect"),
        ("[read, insert, update]", "[aql]", "where: where has no effect"),
        ("where: {owner: $principal}", "where: {any: [{owner: 1}, {owner: {'!=': 1}}]}",
         "8:9: roles.writer.rules.0.where: every document meets this"),
        ("where: {owner: $principal}", "where: {any: [{owner: $principal}, {b: {'>': 1, '<': 0}}]}",
         "one of the alternatives can never hold (about b)"),
        (OWN, BEFORE,
         "own does not hold for count, describe-collection, exists, find, get, get-many,"),
        (OWN, BEFORE,
         "6:9: roles.writer.rules.1: where, set, hide, max_affected of writer/own does not hold"),
        (OWN, BEFORE.replace("read", "read, write"),
         "6:9: roles.writer.rules.1: the rule never decides: writer/before"),
        (MALLKU, WIDE + MALLKU.replace("writer", "wide, writer"),
         "15:12: principals.mallku.roles: where, set, hide, max_affected of writer/own does not"),
        ("  notes:\n", "  '*': {}\n  'no*': {}\n  notes:\n",
         "17:3: collections.no*: never used: '*' before it"),
        ("  notes:\n", "  'not*': {}\n  'x*_y': {}\n  notes:\n",
         "17:3: collections.x*_y: no rule allows anything on a collection that this matches"),
        ("  notes:\n", "  nots: {}\n  notes:\n", "16:3: collections.nots: no rule allows anything"),
        ("immutable: false", "models: [Khipu]", "18:5: collections.notes.models: models are"),
        ("[read, insert, update]", "[insert, update]",
         "22:13: queries.recent.roles.0: no rule of 'writer' allows aql"),
    ],
)  # fmt: skip
def test_what_is_hardly_meant_is_said(old: str, new: str, message: str) -> None:
    """A valid policy with a part that has no effect is read, and the part is named."""
    assert old in GOOD
    _, warnings = check_policy(GOOD.replace(old, new, 1), "p.yaml")
    assert [warning for warning in warnings if message in warning]
    assert all(warning.startswith("p.yaml:") for warning in warnings)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (OWN, BEFORE.replace("'*'", "other")),
        (OWN, BEFORE.replace("collections", "databases: [x], collections")),
        (MALLKU, WIDE + MALLKU.replace("writer", "writer, wide")),
    ],
)  # fmt: skip
def test_a_narrow_rule_before_a_wide_one_is_no_mistake(old: str, new: str) -> None:
    """Rules that stand in the order in which they are meant to decide are not complained about."""
    assert old in GOOD
    assert check_policy(GOOD.replace(old, new, 1))[1] == []
