"""The broker's lock for doors: their callers' subjects, and of the inboxes their own part alone."""

from __future__ import annotations

from mallku_broker.accounts import (
    Account,
)
from mallku_broker.nkeys import new_nkey
from mallku_broker.permissions import callers_of, compile_policy, principal_permissions
from mallku_broker.widening import widenings
from mallku_contracts.policy import Policy

POLICY = Policy.model_validate(
    {
        "version": 1,
        "roles": {
            "r": {"rules": ({"id": "r", "collections": ("notes",), "operations": ("get",)},)}
        },
        "principals": {
            "alice": {"roles": ("r",)},
            "adam": {"roles": ("r",)},
            "bob": {"roles": ("r",)},
            "auditor": {"kind": "auditor"},
            "door": {
                "kind": "door",
                "roles": ("r",),
                "acts_for": ("a*",),
                "origins": {"https://x": "mallku"},
                "nkey": new_nkey()[1],
            },
        },
    }
)


def test_door_publishes_what_its_callers_may_and_nothing_in_its_own_name() -> None:
    """The callers' subjects, the auditor's and other callers' not."""
    publish = principal_permissions(POLICY, "door")[0].publish
    assert callers_of(POLICY, POLICY.principals["door"]) == ["adam", "alice"]
    assert {subject.split(".")[3] for subject in publish} == {"adam", "alice"}
    assert {subject for subject in publish if ".cmd." in subject} == {
        f"mallku.v1.cmd.{name}.*.notes.get" for name in ("adam", "alice")
    }
    theirs = principal_permissions(POLICY, "alice")[0].publish
    assert {subject for subject in publish if ".alice." in subject} == set(theirs)


def test_door_hears_replies_to_what_it_passed_on_and_no_others() -> None:
    """A caller's inbox is open to a door below the door's own name alone."""
    subscribe = principal_permissions(POLICY, "door")[0].subscribe
    inboxes = {subject for subject in subscribe if subject.startswith("_INBOX")}
    assert inboxes == {
        "_INBOX_mallku.door.>",
        "_INBOX_mallku.adam.door.>",
        "_INBOX_mallku.alice.door.>",
    }
    assert {subject for subject in subscribe if "stored" in subject} == {
        "mallku.v1.stored.adam.>",
        "mallku.v1.stored.alice.>",
    }


def test_door_stands_with_callers_and_its_width_is_listed() -> None:
    """A door has no JetStream; every subject that only its proofs narrow is said to be wider."""
    (user,) = compile_policy(POLICY)
    assert (user.name, user.account) == ("door", Account.MALLKU)
    wider = {each.subject for each in widenings(POLICY) if each.principal == "door"}
    assert set(principal_permissions(POLICY, "door")[0].publish) <= wider


def test_callers_are_no_doors() -> None:
    """Nobody else acts for anybody."""
    others = (entry for name, entry in POLICY.principals.items() if name != "door")
    assert not [callers_of(POLICY, entry) for entry in others if callers_of(POLICY, entry)]
