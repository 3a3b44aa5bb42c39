from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest

from mallku_broker.accounts import (
    TRAIL_STREAMS,
    Account,
    Permissions,
    User,
    accounts_text,
)
from mallku_broker.nkeys import new_nkey
from mallku_broker.nsc import nsc_commands
from mallku_broker.permissions import compile_policy, worker_bus
from mallku_broker.widening import widenings
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.policy import Policy, read_policy

BARE = {"id": "one", "databases": ("db",), "collections": ("anchors",), "operations": ("get",)}


def _policy(
    *, top: dict[str, Any] | None = None, principal: dict[str, Any] | None = None, **rule: Any
) -> Policy:
    document = {
        "version": 1,
        "roles": {"r": {"rules": (BARE | rule,)}, "empty": {}},
        "principals": {"p": {"roles": ("r",)} | (principal or {})},
    }
    return Policy.model_validate(document | (top or {}))


def _reasons(policy: Policy) -> set[str]:
    return {each.reason for each in widenings(policy)}


CURSORS = "NATS does not see whose cursor is asked for"


def test_where_the_locks_are_the_same_only_cursors_are_wider() -> None:
    """Literal names compile exactly, and nothing is listed that is not so."""
    assert _reasons(_policy()) == {CURSORS}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"collections": ("fc_*",)}, "'fc_*' is a glob"),
        ({"collections": ("*",)}, "* matches names that begin with _ or mallku_ too"),
        ({"databases": ("*",)}, "* matches names that begin with _ or mallku_ too"),
        ({"hide": ["secret"]}, "NATS sees no documents: hide of r/one"),
        (
            {"operations": ("update",), "max_affected": 3},
            "NATS sees no documents: max_affected of r/one",
        ),
        (
            {"operations": ("insert",), "set": {"owner": "$principal"}},
            "NATS sees no documents: set of r/one",
        ),
        ({"where": {"owner": "$principal"}}, "NATS sees no documents: where of r/one"),
        ({"operations": ("aql",)}, "NATS sees no query: its collections, its text"),
        ({"principal": {"issuers": ("i",)}}, "NATS does not see who issued the token"),
        (
            {"principal": {"roles": ("r", "empty")}},
            "a token may hold fewer roles than the policy gives",
        ),
        ({"top": {"revoked": ("p",)}}, "revoked: workers refuse it with a code and a record"),
        (
            {"operations": ("update",), "top": {"collections": {"anchors": {"immutable": True}}}},
            "NATS sees no documents: immutable of anchors",
        ),
    ],
)
def test_each_thing_that_nats_cannot_say_is_listed(changes: dict[str, Any], reason: str) -> None:
    """What the worker alone enforces has its line, with the reason."""
    assert reason in _reasons(_policy(**changes))


def test_rules_of_other_collections_are_not_listed() -> None:
    """Only what concerns a principal's own subjects stands beside it."""
    policy = _policy(operations=("update",), top={"collections": {"other": {"immutable": True}}})
    assert _reasons(policy) == {CURSORS}


def test_those_who_send_no_commands_have_one_lock() -> None:
    """No worker stands behind the broker's lock for them, so nothing can be wider."""
    for kind in ("auditor", "inspector", "administrator"):
        assert widenings(_policy(principal={"kind": kind, "roles": ()})) == []


def _users() -> tuple[User, ...]:
    policy = read_policy(
        "version: 1\nroles: {r: {rules: [{id: all, collections: ['*'], operations: [get]}]}}\n"
        f"principals: {{mallku: {{roles: [r], nkey: {new_nkey()[1]}}},"
        f" inspector: {{kind: inspector, nkey: {new_nkey()[1]}}},"
        f" auditor: {{kind: auditor, nkey: {new_nkey()[1]}}}}}\n"
    )
    worker = User("worker-1-bus", new_nkey()[1], Account.MALLKU, worker_bus())
    return (*compile_policy(policy), worker)


def _flags(script: str, name: str) -> dict[str, list[str]]:
    """The flags of the command that adds a user, as a shell would split them."""
    (line,) = (
        line
        for line in script.replace("\\\n", "").splitlines()
        if line.startswith("nsc add user") and shlex.split(line)[6] == name
    )
    words = shlex.split(line)[3:]
    return {
        flag.removeprefix("--"): value.split(",")
        for flag, value in zip(words[::2], words[1::2], strict=True)
    }


def test_nsc_gets_the_same_lists_as_the_server() -> None:
    """Every user with account, key and permissions, queues and denials included."""
    users = _users()
    script = nsc_commands(users)
    for user in users:
        flags = _flags(script, user.name)
        assert flags["account"] == [user.account]
        assert flags["public-key"] == [user.nkey]
        assert flags["allow-pub"] == list(user.permissions.publish)
        assert flags["allow-sub"] == list(user.permissions.subscribe)
        assert flags.get("deny-sub", []) == list(user.permissions.deny_subscribe)
        assert user.nkey in accounts_text(users)


def test_nsc_denies_what_has_no_list() -> None:
    """An empty list means nothing, where nsc would take it for everything."""
    user = User("nobody", new_nkey()[1], Account.MALLKU, Permissions())
    flags = _flags(nsc_commands([user]), "nobody")
    assert (flags["deny-pub"], flags["deny-sub"]) == ([">"], [">"])


def test_nsc_makes_each_export_and_its_import() -> None:
    """What one account offers the other takes, and pulled records come as streams."""
    lines = nsc_commands(()).splitlines()
    exports = [line for line in lines if line.startswith("nsc add export")]
    imports = [line for line in lines if line.startswith("nsc add import")]
    assert len(exports) == len(imports) == 4 + 4 * len(TRAIL_STREAMS)
    streamed = sum("--response-type stream" in line for line in exports)
    assert streamed == len(TRAIL_STREAMS)


def test_a_shared_nkey_is_refused_in_text_too() -> None:
    """Two users with one key would be one user with the permissions of the last."""
    first, *_ = _users()
    with pytest.raises(ConfigurationError, match="same nkey"):
        accounts_text([first, replace(first, name="other")])
