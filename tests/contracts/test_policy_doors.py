"""Doors in the policy: whom they act for, where they stand, and what they may carry at all."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mallku_contracts.errors import PermissionDenied
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.policy import CompiledPolicy, Policy
from mallku_contracts.policy.review import review
from mallku_contracts.subjects import CommandSubject

ORIGIN = "https://door.example"
ALL = frozenset({"carrying", "service"})


def policy(door: dict[str, Any] | None = None, rule: dict[str, Any] | None = None) -> Policy:
    """A policy with a door, changed in one place or another."""
    entry = {
        "kind": "door",
        "roles": ("carrying",),
        "acts_for": ("a*",),
        "origins": {ORIGIN: "mallku"},
    }
    carrying = {"id": "most", "collections": ("notes",), "operations": ("read", "aql")}
    service = {"id": "all", "collections": ("*",), "operations": ("read", "write")}
    return Policy.model_validate(
        {
            "version": 3,
            "roles": {
                "carrying": {"rules": (carrying | (rule or {}),)},
                "service": {"rules": (service,)},
            },
            "principals": {
                "alice": {"roles": ("service",)},
                "bob": {"roles": ("service",)},
                "auditor": {"kind": "auditor"},
                "door": entry | (door or {}),
            },
        }
    )


def subject(principal: str, operation: str, collection: str = "notes") -> CommandSubject:
    """A command in somebody's name."""
    return CommandSubject.build(principal, "mallku", collection, operation)


def test_door_acts_for_whom_it_is_told_where_it_stands() -> None:
    """Another caller, another origin, another database, another door or issuer: refused."""
    compiled = CompiledPolicy(policy({"issuers": ("i",)}))
    compiled.refuse_door("door", "i", subject("alice", "get"), ORIGIN)
    elsewhere = CommandSubject.build("alice", "other", "notes", "get")
    for door, issuer, asked, origin in (
        ("door", "i", subject("bob", "get"), ORIGIN),
        ("door", "i", subject("alice", "get"), "https://other.example"),
        ("door", "i", elsewhere, ORIGIN),
        ("door", "other", subject("alice", "get"), ORIGIN),
        ("alice", "i", subject("alice", "get"), ORIGIN),
        ("nobody", "i", subject("alice", "get"), ORIGIN),
        ("auditor", "i", subject("alice", "get"), ORIGIN),
    ):
        with pytest.raises(PermissionDenied):
            compiled.refuse_door(door, issuer, asked, origin)


def test_door_without_callers_acts_for_nobody() -> None:
    """Nobody named means nobody, not everybody."""
    compiled = CompiledPolicy(policy({"acts_for": ()}))
    with pytest.raises(PermissionDenied, match="does not act for"):
        compiled.refuse_door("door", "i", subject("alice", "get"), ORIGIN)


def test_roles_of_a_door_are_a_ceiling() -> None:
    """What no rule of its own allows a door carries for nobody; pages go with queries."""
    compiled = CompiledPolicy(policy())
    for operation, collection, allowed in (
        ("get", "notes", True),
        ("next", "@", True),
        ("get", "other", False),
        ("insert", "notes", False),
    ):
        asked = CommandSubject("alice", "mallku", collection, operation)
        if allowed:
            compiled.refuse_beyond_door("door", ALL, asked, OPERATIONS[operation])
            continue
        with pytest.raises(PermissionDenied, match="no rule lets the door"):
            compiled.refuse_beyond_door("door", ALL, asked, OPERATIONS[operation])
    with pytest.raises(PermissionDenied):  # the token has fewer roles than the policy
        compiled.refuse_beyond_door("door", frozenset(), subject("alice", "get"), OPERATIONS["get"])


def test_door_has_no_commands_of_its_own() -> None:
    """Its roles let it carry, and do nothing."""
    compiled = CompiledPolicy(policy())
    with pytest.raises(PermissionDenied, match="knows no caller 'door'"):
        compiled.decide(subject("door", "get"), OPERATIONS["get"], roles=ALL, issuer="i")


@pytest.mark.parametrize(
    "door",
    [
        {"kind": "caller"},
        {"kind": "caller", "acts_for": ()},
        {"origins": {"https://door.example/path": "mallku"}},
        {"origins": {"ftp://door.example": "mallku"}},
        {"origins": {"https://Door.example": "mallku"}},
        {"origins": {ORIGIN: "no name"}},
        {"acts_for": ("mallku_ledger",)},
    ],
)
def test_what_makes_no_door_is_refused(door: dict[str, Any]) -> None:
    """Callers act for nobody, and an origin is one: lower case, without a path."""
    with pytest.raises(ValidationError):
        policy(door)


@pytest.mark.parametrize(
    "rule", [{"where": {"owner": "$principal"}}, {"hide": ("x",)}, {"max_affected": 1}]
)
def test_ceiling_cannot_look_at_documents(rule: dict[str, Any]) -> None:
    """A rule that restricts documents would not be applied, so it is refused."""
    with pytest.raises(ValidationError, match="a door sees no documents"):
        policy(rule=rule)


def test_review_finds_a_door_that_carries_nothing() -> None:
    """Without roles, callers or origins a door is of no use, which is said."""
    texts = [finding.message for finding in review(policy({"acts_for": ()}))]
    assert any("carries nothing" in text for text in texts)
    assert not any("carries nothing" in each.message for each in review(policy()))
