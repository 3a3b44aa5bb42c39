"""What is shown of a result: within the asker's rules, and within what their door may carry."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.arguments import read_arguments
from mallku_contracts.dpop import Proof
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.policy import CompiledPolicy, read_policy
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.tokens import COMMAND_AUDIENCE, Identity
from mallku_workers.request import Carrier, Request
from mallku_workers.revealing import reveal
from mallku_workers.stores.base import Done
from tests.support.simulated_caller import SimulatedCaller

KEY = SimulatedCaller.of("alice").key.public
POLICY = CompiledPolicy(
    read_policy("""
version: 1
roles:
  own:
    rules:
      - {id: all, collections: [payroll, notes], operations: [get, insert, delete-match]}
      - {id: out, collections: ["@"], operations: [outcome, list-collections]}
  notes:
    rules:
      - {id: notes, collections: [notes], operations: [get, insert]}
      - {id: gone, collections: [payroll], operations: [delete-match]}
      - {id: out, collections: ["@"], operations: [outcome, list-collections]}
principals:
  alice: {roles: [own]}
  door: {kind: door, roles: [notes], acts_for: [alice], origins: {"https://d": mallku}}
""")
)


def identity(principal: str, role: str) -> Identity:
    """Whom a token speaks for."""
    return Identity("i", COMMAND_AUDIENCE, principal, frozenset({role}), 0, 2**40, "", KEY)


def request(operation: str, *, door: bool, collection: str = "@", **arguments: Any) -> Request:
    """A request of `alice`, signed by her or brought by the door."""
    known, alice = OPERATIONS[operation], identity("alice", "own")
    subject = CommandSubject("alice", "mallku", collection, operation)
    grant = POLICY.decide(subject, known, roles=alice.roles, issuer="i")
    proof = Proof(KEY, "POST", "https://d", "/", 0, "", "", None, b"")
    return Request(
        subject,
        known,
        read_arguments(known.arguments, arguments),
        POLICY,
        alice,
        grant,
        0,
        carrier=Carrier(identity("door", "notes"), proof, b"") if door else None,
    )


@pytest.mark.parametrize(("collection", "shown"), [("payroll", False), ("notes", True)])
def test_old_answer_holds_no_document_that_the_door_may_not_carry(
    collection: str, shown: bool
) -> None:
    """A version comes through a door that could `get` it; its caller alone sees it anyway."""
    meta = {"_id": f"{collection}/1", "_key": "1", "_rev": "r"}
    told = Done({"state": "done", "id": "x", "result": [meta | {"new": meta | {"salary": 1}}]})
    alone = reveal(told, request("outcome", door=False, id="x")).result["result"]
    through = reveal(told, request("outcome", door=True, id="x")).result["result"]
    assert "new" in alone[0]
    assert through == (alone if shown else [meta])


def test_dry_run_names_no_document_that_the_door_may_not_carry() -> None:
    """It is counted: the door may carry the deletion, and no document."""
    told = Done({"count": 1, "documents": [{"_key": "1"}], "more": False})

    def asked(*, door: bool) -> Request:
        return request("delete-match", door=door, collection="payroll", filters={}, dry_run=True)

    assert reveal(told, asked(door=False)).result == told.result
    unnamed = {"count": 1, "documents": [], "more": True}
    assert reveal(told, asked(door=True)).result == unnamed
