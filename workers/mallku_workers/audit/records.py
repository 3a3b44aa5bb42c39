"""What a record says of a case: pure, from what the steps have established so far."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from mallku_contracts.arguments import is_dry_run
from mallku_contracts.audit import pack_fields
from mallku_contracts.codec import is_deeper
from mallku_contracts.errors import MallkuError
from mallku_contracts.limits import MAX_DEPTH, MAX_RECORD_BYTES
from mallku_contracts.operations import Access
from mallku_contracts.policy import DocumentRules
from mallku_contracts.subjects import NO_COLLECTION, CommandSubject
from mallku_contracts.tokens import Identity
from mallku_contracts.trail.digests import MARK, Digests, TooManyError
from mallku_workers.message import Case
from mallku_workers.request import Request
from mallku_workers.stores.base import Done, Effect, RunnableQuery

UNREADABLE: Final = CommandSubject("unknown", "unknown", NO_COLLECTION, "unknown")
"""Stands in the audit subject of a refusal whose own subject could not be read."""


def subject_of(case: Case) -> CommandSubject:
    """The command's subject, or the one that stands for unreadable ones."""
    return case.subject or UNREADABLE


def known(case: Case) -> dict[str, Any]:
    """The fields of a record that tell who asked for what, as far as it is established."""
    header, identity, grant = case.header, case.identity, case.grant
    fields: dict[str, Any] = {
        "id": header.id if header else "",
        "principal": subject_of(case).principal,
        "subject": case.message.subject,
        "steps": dict(case.steps),
        "trace": case.message.trace,
    }
    if header:
        fields["attempt"] = header.attempt
    if identity:
        fields |= {"kid": _signer(case, identity).key.kid, "issuer": identity.issuer}
        fields["roles"] = tuple(sorted(identity.roles))
    if case.door:
        fields["via"] = {"door": case.door.principal}
        fields["via"] |= {"kid": identity.key.kid} if identity else {}
    if grant:
        fields |= {"policy": grant.policy_version, "rule": grant.rule}
    return fields


def asked(case: Case) -> dict[str, Any]:
    """The signed bytes themselves and the key that verifies them; never the token.

    For a mutation also what it is held to: with both, what it becomes can be worked out again.
    Where records may hold hashes alone, neither body nor signature is there.
    """
    envelope, identity = case.envelope, case.identity
    if envelope is None or identity is None:
        return {}
    key = _signer(case, identity).key.raw
    parts = (envelope.protected, envelope.body, envelope.signature, key)
    proven = _proven(case, identity)
    request = case.request
    if request is not None and request.digests is not None:
        hidden = (envelope.protected, b"", b"", key)
        held_to = _hashed(request, request.digests, envelope.body)
        return {"command": hidden, "bound": held_to} | proven
    if request is None or not request.mutates:
        return {"command": parts} | proven
    held_to = bound(request.rules)
    if any(step.rules is not None for step in request.steps):
        held_to["steps"] = [bound(step.rules) for step in request.steps]
    if request.query is not None and (binds := _set_binds(request.query)):
        held_to["binds"] = binds
    return {"command": parts, "bound": held_to} | proven


def _signer(case: Case, identity: Identity) -> Identity:
    """Whose key signed the command: its caller's, or that of the door which carries it."""
    return case.carrier.identity if case.carrier else identity


def _proven(case: Case, identity: Identity) -> dict[str, Any]:
    """The proof that the caller asked for what a door signed; it says nothing of values."""
    if case.carrier is None:
        return {}
    door = case.carrier.identity.principal
    return {"via": {"door": door, "kid": identity.key.kid, "proof": case.carrier.text}}


def _hashed(request: Request, digests: Digests, body: bytes) -> dict[str, Any]:
    """What stands in the place of a body that must not be recorded."""
    values = request.arguments.model_dump(exclude_unset=True)
    try:
        asked_for: dict[str, Any] = {"asked": digests.hide(values)}
    except TooManyError:
        asked_for = {"omitted": True}
    return {**MARK, "body": digests.of_bytes(body), "mutates": request.mutates, **asked_for}


def _set_binds(query: RunnableQuery) -> dict[str, Any]:
    """The bind values that the policy put into an approved query."""
    given = query.arguments.bind_vars
    return {name: value for name, value in query.binds.items() if name not in given}


def bound(rules: DocumentRules | None) -> dict[str, Any]:
    """Document rules under the policy's names, `where` as AQL over `document` with its values."""
    if rules is None:
        return {}
    described: dict[str, Any] = {
        "set": dict(rules.forced),
        "hide": [".".join(path) for path in rules.hidden],
        "max_affected": rules.max_affected,
        "schema": rules.schema is not None,
        "immutable": rules.immutable,
    }
    if rules.where is not None:
        text, values = rules.where.to_aql("document", "b")
        described["where"] = {"aql": text, "values": values}
    return {name: value for name, value in described.items() if value}


def came_of(case: Case, done: Done) -> dict[str, Any]:
    """What a finished command did; of an operation on the catalog also what it answered."""
    effects = effects_of(done.effects)
    if case.request is not None and case.request.digests is not None:
        effects = case.request.digests.effects(effects)
    fields: dict[str, Any] = {
        "effects": effects,
        "position": done.position,
        "replayed_of": done.replayed,
    }
    if case.operation is not None and case.operation.access is Access.ADMIN:
        fields["facts"] = {"result": done.result}
    elif case.request is not None and is_dry_run(case.request.arguments):
        fields["facts"] = {"dry_run": True, "count": done.result["count"]}
    return fields


def went_wrong(error: MallkuError) -> dict[str, Any]:
    """Which error ended a command, and by which policy, where the policy refused it."""
    fields: dict[str, Any] = {"code": error.code, "number_of": error.number}
    version = (error.details or {}).get("policy_version")
    return fields if version is None else fields | {"policy": version}


def effects_of(effects: Iterable[Effect]) -> tuple[dict[str, Any], ...]:
    """The effects of a mutation as its record holds them."""
    return tuple(
        {
            "collection": effect.collection,
            "key": effect.key,
            "old_rev": effect.old_rev,
            "new_rev": effect.new_rev,
            "new": effect.new,
        }
        for effect in effects
    )


def pack_fitting(record: dict[str, Any]) -> bytes:
    """The record's bytes (`pack_fields`), with less about its effects where not all would fit.

    Stores refuse what would not fit before they commit. But a document that was made past the
    gateway may be nested deeper than readers take, and ArangoDB changes some of them before anybody
    has seen them; should a store fail to refuse, a record that the stream or no reader takes would
    leave its intent open for ever. So first the new versions are left out (`"omitted": true` in
    their place), then all but how many there were.
    """
    effects = tuple(_without_deep(record.get("effects", ())))
    if effects:
        record = {**record, "effects": effects}
    data = pack_fields(record)
    for shorten in (_without_versions, _counted):
        if len(data) <= MAX_RECORD_BYTES:
            break
        record = {**record, "effects": shorten(record.get("effects", ()))}
        data = pack_fields(record)
    return data


def _without_deep(effects: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for effect in effects:
        if is_deeper(effect.get("new"), MAX_DEPTH):
            yield {**effect, "new": None, "omitted": True}
        else:
            yield effect


def _without_versions(effects: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple(
        effect if effect["new"] is None else {**effect, "new": None, "omitted": True}
        for effect in effects
    )


def _counted(effects: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    return ({"omitted": len(effects)},)
