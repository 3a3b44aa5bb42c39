from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mallku_broker import permissions as module
from mallku_broker.accounts import (
    Account,
)
from mallku_broker.nkeys import new_nkey
from mallku_broker.permissions import (
    compile_policy,
    principal_permissions,
    worker_bus,
    worker_records,
)
from mallku_contracts.errors import MallkuError
from mallku_contracts.operations import OPERATIONS, Operation, Scope
from mallku_contracts.policy import CompiledPolicy, Policy
from mallku_contracts.subjects import FLAGS_CHANGED, NEXT, CommandSubject

DATABASES = ("mallku", "other")
COLLECTIONS = ("anchors", "fc_messages", "fc_rounds", "khipu")
GLOBS = ("*", "anchors", "fc_*", "*_rounds", "k*u", "absent")


def _policy(rules: list[dict[str, Any]], **principal: Any) -> Policy:
    return Policy.model_validate(
        {
            "version": 1,
            "roles": {"r": {"rules": tuple(rules)}},
            "principals": {"p": {"roles": ("r",)} | principal},
        }
    )


def _rule(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "collections": ("*",), "operations": ("read",)} | fields


RULES = st.lists(
    st.fixed_dictionaries(
        {
            "databases": st.lists(
                st.sampled_from(("*", "mallku", "o*", "absent")), min_size=1, max_size=2
            ).map(tuple),
            "collections": st.lists(st.sampled_from(GLOBS), min_size=1, max_size=3).map(tuple),
            "operations": st.lists(
                st.sampled_from([*OPERATIONS, "read", "write", "admin"]), min_size=1, max_size=4
            ).map(tuple),
        }
    ),
    max_size=4,
).map(lambda rules: [{"id": f"r{n}"} | rule for n, rule in enumerate(rules)])


def _lets_through(patterns: tuple[str, ...], subject: str) -> bool:
    """Whether NATS would let `subject` pass a list of allowed patterns."""
    return any(_matches(pattern.split("."), subject.split(".")) for pattern in patterns)


def _matches(pattern: list[str], tokens: list[str]) -> bool:
    if pattern[-1] == ">":
        return len(tokens) >= len(pattern) and _matches(pattern[:-1], tokens[: len(pattern) - 1])
    return len(pattern) == len(tokens) and all(
        wanted in {"*", token} for wanted, token in zip(pattern, tokens, strict=True)
    )


def _subject(database: str, collection: str, operation: Operation) -> CommandSubject:
    if operation.name == NEXT:
        return CommandSubject.of_cursor("p", database, "w1")
    where = None if operation.scope is Scope.DATABASE else collection
    return CommandSubject.build("p", database, where, operation.name)


def _subjects() -> list[CommandSubject]:
    return [
        _subject(database, collection, operation)
        for database, collection, operation in itertools.product(
            DATABASES, COLLECTIONS, OPERATIONS.values()
        )
    ]


SUBJECTS = _subjects()


def _granted(policy: Policy) -> set[CommandSubject]:
    compiled, granted = CompiledPolicy(policy), set[CommandSubject]()
    for subject in SUBJECTS:
        try:
            compiled.decide(
                subject, OPERATIONS[subject.operation], roles=frozenset({"r"}), issuer="i"
            )
        except MallkuError:
            continue
        granted.add(subject)
    return granted


@settings(deadline=None, max_examples=50)
@given(RULES)
def test_the_broker_is_never_narrower_than_the_worker(rules: list[dict[str, Any]]) -> None:
    """Whatever a worker would grant, as a command or as a job, the broker lets through."""
    policy = _policy(rules)
    publish = principal_permissions(policy, "p")[0].publish
    for subject in _granted(policy):
        assert _lets_through(publish, str(subject))
        assert _lets_through(publish, str(subject).replace(".cmd.", ".job."))
        if subject.operation == "aql":
            assert _lets_through(publish, f"mallku.v1.cur.p.{subject.database}.w1.next")


@settings(deadline=None, max_examples=50)
@given(RULES)
def test_where_no_glob_stands_the_locks_are_the_same(rules: list[dict[str, Any]]) -> None:
    """The broker is wider than the worker only where a widening was reported."""
    policy = _policy(rules)
    permissions, widenings = principal_permissions(policy, "p")
    wider = tuple(widening.subject for widening in widenings)
    granted = _granted(policy)
    for subject in SUBJECTS:
        if subject not in granted and _lets_through(permissions.publish, str(subject)):
            assert _lets_through(wider, str(subject))


@settings(deadline=None, max_examples=50)
@given(RULES)
def test_collapsing_stays_sound_and_short(rules: list[dict[str, Any]]) -> None:
    """A list that is too long becomes wider, never narrower, and says so."""
    policy = _policy(rules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_COMMAND_SUBJECTS", 10)
        permissions, widenings = principal_permissions(policy, "p")
    commands = [subject for subject in permissions.publish if ".cmd." in subject]
    assert len(commands) <= 2 * len(OPERATIONS)
    for subject in _granted(policy):
        assert _lets_through(permissions.publish, str(subject))
    if len(commands) > 10:
        assert any("more than 10" in widening.reason for widening in widenings)


def test_a_literal_name_stays_exact() -> None:
    """One operation on one collection is one command, and one job: now, later or in order.

    Whoever may send a command may call it off.
    """
    policy = _policy([_rule("a", databases=("db",), collections=("c",), operations=("get",))])
    permissions, widenings = principal_permissions(policy, "p")
    assert permissions.publish == (
        "mallku.v1.cmd.p.db.c.get",
        "mallku.v1.job.p.db.c.get",
        "mallku.v1.job.p.db.c.get.at",
        "mallku.v1.job.p.db.c.get.key.*",
        "mallku.v1.cancel.p.*",
    )
    assert permissions.subscribe == ("_INBOX_mallku.p.>", "mallku.v1.stored.p.>", FLAGS_CHANGED)
    assert widenings == []


def test_a_glob_becomes_any_and_is_reported() -> None:
    """NATS knows no globs inside a token, and an operator is told what that means."""
    policy = _policy([_rule("a", databases=("db",), collections=("fc_*",), operations=("get",))])
    permissions, widenings = principal_permissions(policy, "p")
    assert "mallku.v1.cmd.p.db.*.get" in permissions.publish
    assert [(each.subject, each.reason) for each in widenings] == [
        ("mallku.v1.cmd.p.db.*.get", "'fc_*' is a glob")
    ]


def test_an_operation_without_a_collection_keeps_its_sign() -> None:
    """Where there is no collection the subject has `@`, whatever the rule's collections say."""
    policy = _policy([_rule("a", collections=("c",), operations=("list-collections",))])
    publish = principal_permissions(policy, "p")[0].publish
    assert "mallku.v1.cmd.p.*.@.list-collections" in publish
    assert not any(".c.list-collections" in subject for subject in publish)


def test_nobody_publishes_for_somebody_else() -> None:
    """Every subject that a caller may publish begins with the caller's own name."""
    policy = _policy([_rule("a", operations=("read", "write", "admin"))])
    for subject in principal_permissions(policy, "p")[0].publish:
        assert subject.split(".")[:2] == ["mallku", "v1"]
        assert subject.split(".")[2] in {"cmd", "job", "cur", "cancel"}
        assert subject.split(".")[3] == "p"


def test_no_roles_means_no_subjects() -> None:
    """A caller whom no rule allows anything may publish nothing."""
    permissions, _ = principal_permissions(_policy([]), "p")
    assert permissions.publish == ()


@pytest.mark.parametrize(
    ("kind", "account"),
    [
        ("caller", Account.MALLKU),
        ("inspector", Account.MALLKU),
        ("auditor", Account.AUDITORS),
        ("administrator", Account.RECORDS),
    ],
)
def test_each_kind_stands_in_its_account(kind: str, account: Account) -> None:
    """A principal with an nkey becomes a user of the account that its kind belongs to."""
    nkey = new_nkey()[1]
    (user,) = compile_policy(_policy([], kind=kind, nkey=nkey))
    assert (user.name, user.nkey, user.account) == ("p", nkey, account)


def test_a_principal_without_an_nkey_is_no_user() -> None:
    """Who has no key cannot connect, and appears in no account."""
    assert compile_policy(_policy([_rule("a")])) == ()


@pytest.mark.parametrize("kind", ["caller", "inspector", "auditor", "administrator"])
def test_nobody_listens_everywhere_or_drives_the_whole_api(kind: str) -> None:
    """No list of anybody has the subjects that would open everything."""
    lists = [principal_permissions(_policy([_rule("a")], kind=kind), "p")[0]]
    for permissions in (*lists, worker_bus(), worker_records()):
        for subject in (*permissions.publish, *permissions.subscribe):
            assert subject not in {">", "*", "_INBOX.>", "$JS.API.>", "$JS.>", "$SYS.>", "$KV.>"}
        assert not any(
            "DELETE" in subject for subject in permissions.publish if "STREAM" in subject
        )
        assert not any("PURGE" in subject for subject in permissions.publish)


def test_a_worker_takes_commands_in_its_queue_group_alone() -> None:
    """Each operation has one subscription, in the group of its class."""
    commands = [each for each in worker_bus().subscribe if each.startswith("mallku.v1.cmd.")]
    assert len(commands) == len(OPERATIONS)
    for name, operation in OPERATIONS.items():
        queue = "mallku.write" if operation.mutates else "mallku.read"
        assert f"mallku.v1.cmd.*.*.*.{name} {queue}" in commands
    assert worker_bus().publish == ("_INBOX_mallku.>",)
