"""Policy: nothing is allowed that no rule allows, and a typo is found where it stands."""

from __future__ import annotations

import re
import time
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.errors import PermissionDenied, ReservedName
from mallku_contracts.globs import any_of, glob_pattern, matches
from mallku_contracts.operations import OPERATIONS, Access, Scope
from mallku_contracts.policy import CompiledPolicy, Grant, PolicyError, read_policy
from mallku_contracts.subjects import CommandSubject

TEXT = """
version: 7
roles:
  reader:
    rules:
      - {id: all, collections: ["*"], operations: [read]}
    limits: {rate_per_s: 10, burst: 500, in_flight: 3}
  writer:
    rules:
      - {id: anchors, collections: ["memory_*", notes], operations: [insert, update, read]}
      - {id: other, databases: ["test*"], collections: ["*"], operations: [write]}
    limits: {rate_per_s: 100, burst: 5, in_flight: 2}
  keeper:
    rules:
      - {id: house, collections: ["*"], operations: [admin]}
principals:
  mallku: {roles: [reader, writer]}
  bound: {roles: [reader], issuers: [one]}
  operator: {roles: [keeper]}
  nobody: {}
  auditor: {kind: auditor, roles: [reader]}
"""
POLICY = CompiledPolicy(read_policy(TEXT))
ALL_ROLES = frozenset({"reader", "writer", "keeper"})


def decide(
    operation: str, collection: str | None, who: str = "mallku", *, database: str = "main",
    roles: frozenset[str] = ALL_ROLES, issuer: str = "one", policy: CompiledPolicy = POLICY,
) -> Grant:  # fmt: skip
    """The policy's answer to one command."""
    subject = CommandSubject.build(who, database, collection, operation)
    return policy.decide(subject, OPERATIONS[operation], roles=roles, issuer=issuer)


def test_a_grant_names_its_rule_and_version() -> None:
    """Who is allowed something learns by which rule of which version."""
    grant = decide("insert", "memory_anchors")
    assert (grant.rule, grant.policy_version) == ("writer/anchors", 7)
    assert decide("get", "memory_anchors").rule == "reader/all"
    assert decide("delete", "anything", database="test1").rule == "writer/other"
    assert decide("list-collections", None).rule == "reader/all"
    assert decide("create-collection", "new", "operator").rule == "keeper/house"


@pytest.mark.parametrize(
    ("operation", "collection", "who"),
    [
        ("insert", "memory", "mallku"),
        ("insert", "xmemory_a", "mallku"),
        ("insert", "MEMORY_A", "mallku"),
        ("insert", "notes2", "mallku"),
        ("delete", "memory_anchors", "mallku"),
        ("drop-collection", "memory_anchors", "mallku"),
        ("truncate", "notes", "mallku"),
        ("get", "notes", "nobody"),
        ("get", "notes", "stranger"),
        ("get", "notes", "auditor"),
        ("get", "notes", "operator"),
    ],
)
def test_what_no_rule_allows_is_refused(operation: str, collection: str, who: str) -> None:
    """Refusal is the default, and says which rule was missing."""
    with pytest.raises(PermissionDenied) as refused:
        decide(operation, collection, who)
    missing = {"operation": operation, "database": "main", "collection": collection}
    assert refused.value.details == {"missing": missing, "policy_version": 7}


def test_an_empty_policy_allows_nothing() -> None:
    """No roles, no rules or no operations: nobody may do anything."""
    for text in (
        "{version: 1, roles: {}, principals: {mallku: {}}}",
        "{version: 1, roles: {reader: {}}, principals: {mallku: {roles: [reader]}}}",
        "{version: 1, roles: {}, principals: {}}",
    ):
        policy = CompiledPolicy(read_policy(text))
        for name, operation in OPERATIONS.items():
            where = None if operation.scope is Scope.DATABASE else "c"
            with pytest.raises(PermissionDenied):
                decide(name, where, policy=policy)


@pytest.mark.parametrize("roles", [frozenset(), frozenset({"keeper"}), frozenset({"admin"})])
def test_effective_roles_are_those_of_token_and_policy(roles: frozenset[str]) -> None:
    """A role in the token alone, or in the policy alone, allows nothing."""
    with pytest.raises(PermissionDenied, match="effective roles: none"):
        decide("get", "notes", roles=roles)


def test_an_issuer_speaks_for_those_who_name_it() -> None:
    """A principal bound to an issuer is not believed with another's token."""
    assert decide("get", "notes", "bound", issuer="one").rule == "reader/all"
    with pytest.raises(PermissionDenied, match="does not speak"):
        decide("get", "notes", "bound", issuer="two")


@pytest.mark.parametrize("name", ["_system", "mallku_ledger", "mallku_", "_"])
def test_reserved_names_are_out_of_reach(name: str) -> None:
    """No glob matches the gateway's own names, for nobody."""
    for who, operation in (("mallku", "get"), ("operator", "drop-collection"), ("nobody", "get")):
        with pytest.raises(ReservedName, match="collection"):
            decide(operation, name, who)
        with pytest.raises(ReservedName, match="database"):
            decide(operation, "notes", who, database=name)


def test_the_place_of_the_collection_is_no_collection() -> None:
    """`*` does not match `@`, and an operation of the database has no collection."""
    for operation, collection in (("get", "@"), ("list-collections", "notes")):
        subject = CommandSubject("mallku", "main", collection, operation)
        with pytest.raises(PermissionDenied):
            POLICY.decide(subject, OPERATIONS[operation], roles=ALL_ROLES, issuer="one")


def test_a_grant_for_one_operation_is_none_for_another() -> None:
    """The operation asked about is the one on the subject, before and after it is remembered."""
    subject = CommandSubject.build("mallku", "main", "notes", "truncate")
    for _ in range(2):
        with pytest.raises(PermissionDenied):
            POLICY.decide(subject, OPERATIONS["get"], roles=ALL_ROLES, issuer="one")


def test_limits_are_the_widest_of_the_effective_roles() -> None:
    """A principal with several roles has the best of each, with none the least there is."""
    limits = decide("get", "notes").limits
    assert (limits.rate_per_s, limits.burst, limits.in_flight) == (100, 500, 3)
    assert decide("get", "notes", roles=frozenset({"reader"})).limits.rate_per_s == 10
    known, nobody = POLICY.limits("mallku"), POLICY.limits("nobody")
    assert known == limits
    assert nobody is not None
    assert (nobody.rate_per_s, nobody.in_flight) == (1, 1)
    assert POLICY.limits("stranger") is None


@given(st.sampled_from(sorted(OPERATIONS)), st.sampled_from(["a", "memory_x", "notes", "_x", None]),
       st.sampled_from(["mallku", "bound", "operator", "nobody", "x"]),
       st.frozensets(st.sampled_from(sorted(ALL_ROLES))))  # fmt: skip
def test_a_grant_needs_a_role_with_the_operation(
    operation: str, collection: str | None, who: str, roles: frozenset[str]
) -> None:
    """Every grant is explained by a rule of a role in both; asked again the answer is the same."""
    try:
        grant = decide(operation, collection, who, roles=roles)
    except (PermissionDenied, ReservedName):
        return
    role, _, rule_id = grant.rule.partition("/")
    rule = next(r for r in POLICY.policy.roles[role].rules if r.id == rule_id)
    assert role in roles
    assert role in POLICY.policy.principals[who].roles
    assert operation in rule.allowed
    assert decide(operation, collection, who, roles=roles) == grant


def test_a_class_stands_for_its_operations() -> None:
    """`read`, `write` and `admin` allow exactly the operations of that class."""
    rule = POLICY.policy.roles["keeper"].rules[0]
    admin = {name for name, o in OPERATIONS.items() if o.access is Access.ADMIN}
    assert rule.allowed == admin


@given(st.text("ab*", min_size=1, max_size=8), st.text("ab", max_size=10))
def test_a_glob_matches_as_a_shell_has_it(glob: str, name: str) -> None:
    """A star stands for any characters, also none; everything else for itself."""
    assert matches([glob], name) == fnmatchcase(name, glob)


def test_a_glob_of_many_stars_is_answered_at_once() -> None:
    """No glob makes a decision slow, whatever the name."""
    pattern = re.compile(any_of(["*a" * 31 + "*b"]))
    began = time.perf_counter()
    assert pattern.fullmatch("a" * 64) is None
    assert time.perf_counter() - began < 0.5
    assert glob_pattern("a-b") == r"a\-b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p.yaml:1:1: a policy is a map"),
        ("[]", "p.yaml:1:1: a policy is a map"),
        ("version: 1\nroles: {}\n", "p.yaml:1:1: principals: it is missing"),
        ("version: 1\nroles: {}\nprincipals: {}\nrols: {}", "p.yaml:4:1: rols: there is no"),
        ("version: '1'\nroles: {}\nprincipals: {}", "p.yaml:1:1: version: a whole number"),
        ("version: 0\nroles: {}\nprincipals: {}", "p.yaml:1:1: version: "),
        ("version: 1\nversion: 2", "p.yaml:2:1: 'version' stands twice"),
        ("version: 1\nroles: {a: {}, a: {}}", "p.yaml:2:16: 'a' stands twice"),
        ("roles: {\n", "p.yaml:2:1: "),
        ("a: b: c", "p.yaml:1:5: mapping values"),
        ("a: &x 1\nb: *x", "p.yaml:1:4: anchors and aliases"),
        ("a: !!python/object:os.system x", "p.yaml:1:4: tags are not used"),
        ("? [a]\n: b", "p.yaml:1:3: a key is a single word"),
        ("[" * 5_000, "nested deeper than 32 levels"),
        ("a: \x00", "p.yaml: not YAML"),
        ("version: " + "9" * 5_000, "p.yaml: not YAML"),
        ("a: 1\n---\nb: 2", "p.yaml:2:1: "),
        (" " * 2_000_000, "p.yaml: longer than"),
    ],
)
def test_a_document_that_cannot_be_used_says_where(text: str, message: str) -> None:
    """What is not YAML, or not a policy, is refused with file, line and column."""
    with pytest.raises(PolicyError) as refused:
        read_policy(text, "p.yaml")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[insert, update, read]", "[insrt]", "10:70: roles.writer.rules.0.operations.0: unknown"),
        ("[insert, update, read]", "[insrt]", "operation 'insrt'; did you mean 'insert'?"),
        ('"memory_*"', '"memory.*"', "rules.0.collections.0: 'memory.*' is not a name"),
        ('"memory_*"', '"mallku_*"', "belong to the gateway"),
        ('"memory_*"', '"_*"', "belong to the gateway"),
        ('["memory_*", notes]', "[]", "roles.writer.rules.0.collections: "),
        ("id: other", "id: anchors", "roles.writer.rules: the id 'anchors' is used twice"),
        ("roles: [keeper]", "roles: [keper]", "operator.roles: there is no role 'keper'"),
        ("rate_per_s: 10,", "rate_per_s: 0,", "7:14: roles.reader.limits.rate_per_s: "),
        ("kind: auditor", "kind: audtor", "principals.auditor.kind: "),
        ("nobody: {}", "nobody: {nkey: X}", "principals.nobody.nkey: not the public nkey"),
        ("nobody: {}", '"no body": {}', "principals.no body"),
        ("nobody: {}", "nobody: {role: [reader]}", "principals.nobody.role: there is no such key"),
    ],
)  # fmt: skip
def test_a_typo_is_named_with_its_place(old: str, new: str, message: str) -> None:
    """A wrong value is refused with its path and place, and with a guess where there is one."""
    assert old in TEXT
    with pytest.raises(PolicyError) as refused:
        read_policy(TEXT.replace(old, new, 1), "p.yaml")
    assert message in str(refused.value)
    assert all(line.startswith("p.yaml:") for line in str(refused.value).splitlines())


@given(st.text("abc:-[]{}&*!?|>\"'%@`#, \n1.~=<\t", max_size=60))
def test_any_text_is_a_policy_or_a_policy_error(text: str) -> None:
    """No document crashes whoever reads it."""
    with pytest.raises(PolicyError):
        read_policy(text)
