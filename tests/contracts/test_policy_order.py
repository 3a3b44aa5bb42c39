"""Which rule decides, what it takes to know why, and how wide limits are."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.errors import AuthorizationError
from mallku_contracts.globs import covers, matches
from mallku_contracts.operations import OPERATIONS, Access, Operation, Scope
from mallku_contracts.policy import CompiledPolicy, Limits, Policy, read_policy
from mallku_contracts.policy.limiting import widest
from mallku_contracts.subjects import NO_COLLECTION, CommandSubject

TEXT = """
version: 2
roles:
  narrow:
    rules:
      - {id: secret, collections: [secret_a], operations: [get], hide: [x]}
      - {id: secrets, collections: ["secret_*"], operations: [read], where: {open: true}}
  wide:
    rules:
      - {id: all, collections: ["*"], operations: [read]}
principals:
  first: {roles: [narrow, wide]}
  last: {roles: [wide, narrow]}
collections:
  secret_a: {audit: digest}
  "secret_*": {immutable: true}
"""
POLICY = CompiledPolicy(read_policy(TEXT))
BOTH = frozenset({"narrow", "wide"})

names = st.text("ab", min_size=1, max_size=3)
globs = st.text("ab*", min_size=1, max_size=3)
rules = st.fixed_dictionaries(
    {
        "databases": st.lists(globs, min_size=1, max_size=2).map(tuple),
        "collections": st.lists(globs | st.just("@"), min_size=1, max_size=3).map(tuple),
        "operations": st.lists(
            st.sampled_from(["read", "write", "get", "insert", "list-collections", "aql"]),
            min_size=1,
            max_size=2,
        ).map(tuple),
    }
)
roles = st.lists(rules, max_size=5)
policies = st.tuples(roles, roles, st.permutations(["one", "two"]), st.integers(0, 2))


def rule_for(who: str, operation: str, collection: str, held: frozenset[str] = BOTH) -> str:
    """The rule that allows a command."""
    subject = CommandSubject.build(who, "main", collection, operation)
    return POLICY.decide(subject, OPERATIONS[operation], roles=held, issuer="x").rule


def test_the_first_rule_decides() -> None:
    """Roles as the policy lists them, rules as the role lists them; the token orders nothing."""
    assert rule_for("first", "get", "secret_a") == "narrow/secret"
    assert rule_for("first", "find", "secret_a") == "narrow/secrets"
    assert rule_for("first", "get", "secret_b") == "narrow/secrets"
    assert rule_for("first", "get", "other") == "wide/all"
    assert rule_for("last", "get", "secret_a") == "wide/all"
    assert rule_for("first", "get", "secret_a", frozenset({"wide"})) == "wide/all"


def test_the_rules_of_a_collection_are_its_own_or_the_globs() -> None:
    """A collection's own entry stands alone; without one the first glob that matches holds."""
    assert POLICY.holding("secret_a").rules.audit == "digest"
    assert not POLICY.holding("secret_a").rules.immutable
    assert POLICY.holding("secret_b").rules.immutable
    assert POLICY.holding("other").restricts == ()
    assert POLICY.holding(NO_COLLECTION).restricts == ()


def test_a_collection_is_known_to_those_who_may_do_something_there() -> None:
    """A rule of an effective role has to be about the collection; reserved names are nobody's."""
    narrow = frozenset({"narrow"})
    assert POLICY.mentions("first", "main", "secret_b", roles=narrow)
    assert not POLICY.mentions("first", "main", "other", roles=narrow)
    assert POLICY.mentions("first", "main", "other", roles=BOTH)
    assert not POLICY.mentions("first", "main", "mallku_ledger", roles=BOTH)
    assert not POLICY.mentions("stranger", "main", "other", roles=BOTH)


def test_an_explanation_says_what_each_rule_said() -> None:
    """Every rule up to the one that allowed, with what kept it from allowing."""
    subject = CommandSubject.build("first", "main", "secret_b", "get")
    explained = POLICY.explain(subject, OPERATIONS["get"], roles=BOTH, issuer="x")
    assert explained.allowed
    assert explained.restricted_by == ("where", "immutable")
    assert str(explained) == (
        "narrow/secret: is about collections secret_a\nnarrow/secrets: allows it\n"
        "restricted by where, immutable"
    )


def test_an_explanation_of_a_refusal_says_what_was_missing() -> None:
    """With no rule that allows, each says why not, and the caller's refusal is repeated."""
    subject = CommandSubject.build("first", "main", "secret_b", "insert")
    explained = POLICY.explain(subject, OPERATIONS["insert"], roles=BOTH, issuer="x")
    assert not explained.allowed
    assert [one.why_not for one in explained.considered] == [
        "allows get, not insert",
        "allows read, not insert",
        "allows read, not insert",
    ]
    assert explained.refusal is not None
    assert "no rule allows 'first' to insert on main/secret_b" in str(explained)


def plain_decision(
    policy: Policy, subject: CommandSubject, operation: Operation, held: frozenset[str]
) -> str | None:
    """The decision as a person would make it: rule after rule, glob after glob."""

    def matched(patterns: tuple[str, ...], name: str) -> bool:
        return any(re.fullmatch(glob.replace("*", ".*"), name) for glob in patterns)

    for role in policy.principals["who"].roles:
        for rule in policy.roles[role].rules if role in held else ():
            named = operation.name in rule.operations or operation.access in rule.operations
            if not named or not matched(rule.databases, subject.database):
                continue
            whole = operation.scope is Scope.DATABASE
            if whole == (subject.collection == NO_COLLECTION) and (
                whole or matched(rule.collections, subject.collection)
            ):
                return f"{role}/{rule.id}"
    return None


@given(
    policies,
    st.sampled_from(["get", "insert", "aql", "list-collections", "truncate"]),
    names,
    names | st.just(NO_COLLECTION),
    st.frozensets(st.sampled_from(["one", "two"])),
)
def test_decision_and_explanation_agree_with_a_plain_reading(
    made: tuple[list[dict[str, object]], list[dict[str, object]], list[str], int],
    name: str, database: str, collection: str, held: frozenset[str],
) -> None:  # fmt: skip
    """For any rules, the compiled decision is the first rule that a plain reading finds."""
    one, two, order, count = made
    policy = Policy.model_validate(
        {
            "version": 1,
            "roles": {
                role: {"rules": tuple({"id": f"r{at}", **rule} for at, rule in enumerate(several))}
                for role, several in (("one", one), ("two", two))
            },
            "principals": {"who": {"roles": tuple(order[:count])}},
        }
    )
    compiled = CompiledPolicy(policy)
    operation = OPERATIONS[name]
    subject = CommandSubject("who", database, collection, name)
    expected = plain_decision(policy, subject, operation, held)
    try:
        decided: str | None = compiled.decide(subject, operation, roles=held, issuer="x").rule
    except AuthorizationError:
        decided = None
    explained = compiled.explain(subject, operation, roles=held, issuer="x")
    assert decided == expected
    assert explained.rule == expected
    assert (explained.considered[-1:] != () and explained.considered[-1].why_not is None) == (
        expected is not None
    )


@given(globs, globs, names)
def test_a_glob_that_covers_another_matches_all_it_matches(
    wide: str, narrow: str, name: str
) -> None:
    """What is called covered never matches a name that its cover does not."""
    if covers(wide, narrow) and matches([narrow], name):
        assert matches([wide], name)
    assert not matches([wide], f"{name}/{name}")


def test_a_class_has_its_own_limits_in_the_place_of_the_common_ones() -> None:
    """`of` gives the limits of one class; what the class does not say is as for all."""
    limits = Limits.model_validate({"rate_per_s": 10, "rows": 5, "write": {"rate_per_s": 2}})
    assert limits.of(Access.READ) is limits
    write = limits.of(Access.WRITE)
    assert (write.rate_per_s, write.rows, write.burst) == (2, 5, limits.burst)
    assert write.of(Access.WRITE) is write


@given(st.lists(st.dictionaries(
    st.sampled_from(["rate_per_s", "burst", "rows", "runtime_ms"]), st.integers(1, 9)
), min_size=1, max_size=3), st.lists(st.sampled_from(["read", "write", "admin", None]), min_size=3,
    max_size=3), st.integers(1, 9))  # fmt: skip
def test_several_roles_have_the_widest_of_each_class(
    several: list[dict[str, int]], classes: list[str | None], rate: int
) -> None:
    """For each class, each combined limit is the largest that one of the roles has there."""
    limits = [
        Limits.model_validate(common | ({name: {"rate_per_s": rate}} if name else {}))
        for common, name in zip(several, classes, strict=False)
    ]
    combined = widest(limits)
    for access, key in itertools.product(Access, ("rate_per_s", "burst", "rows", "runtime_ms")):
        assert getattr(combined.of(access), key) == max(
            getattr(one.of(access), key) for one in limits
        )


@pytest.mark.parametrize("roles_held", [(), ("narrow",), ("narrow", "wide")])
def test_combined_limits_are_made_once(roles_held: tuple[str, ...]) -> None:
    """Two grants with the same effective roles share their limits."""
    held = frozenset(roles_held) | {"narrow"}
    grants = [
        POLICY.decide(
            CommandSubject.build("first", "main", name, "get"),
            OPERATIONS["get"], roles=held, issuer="x",
        )
        for name in ("secret_a", "secret_b")
    ]  # fmt: skip
    assert grants[0].limits is grants[1].limits
