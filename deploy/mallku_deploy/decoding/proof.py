"""Whether a message proves itself: token, key and signature, judged by a trust document.

Tokens are judged at the message's own time, so that an old message can still be checked. What only
the asker can know, that a reply answers their command, is not judged here.
"""

from __future__ import annotations

from typing import Any, Final

from mallku_contracts import audit, codec
from mallku_contracts.dpop import Asked, Evidence, Proof
from mallku_contracts.envelope import (
    CommandHeader,
    Envelope,
    ReplyHeader,
    command_signing_input,
    reply_signing_input,
    token_hash,
)
from mallku_contracts.errors import (
    InvalidProof,
    InvalidSignature,
    MalformedBody,
    MallkuError,
    PrincipalMismatch,
)
from mallku_contracts.governed import DocumentError, Kind, open_document
from mallku_contracts.keys import KeyFormatError, PublicKey
from mallku_contracts.limits import MAX_CLOCK_SKEW_MS
from mallku_contracts.subjects import INBOX_ROOT, JOB, CommandSubject, job_line
from mallku_contracts.tokens import COMMAND_AUDIENCE, REPLY_AUDIENCE, Identity, verify_token
from mallku_contracts.trail.statement import CheckpointError
from mallku_contracts.trust import Keys, Trust
from mallku_deploy.decoding.readable import Readable

_MS_PER_S: Final = 1_000


def prove(
    message: Readable, trust: Trust, subject: str | None, administrators: Keys | None = None
) -> dict[str, Any]:
    """`{"verified": True, …}`, or False with the reason.

    Args:
        subject: Where the message was seen; without it, a command's own names are used.
        administrators: Who may sign policies, revocations and flags.
    """
    try:
        proven = _prove(message, trust, subject, administrators or {})
    except MallkuError as error:
        proven = _unproven(f"{error.number} {error.code}: {error.message}")
    except (CheckpointError, DocumentError) as error:
        proven = _unproven(str(error))
    return proven


def _prove(
    message: Readable, trust: Trust, subject: str | None, administrators: Keys
) -> dict[str, Any]:
    match message:
        case Readable(envelope=Envelope() as envelope, header=CommandHeader() as header):
            return _prove_command(envelope, header, trust, subject)
        case Readable(envelope=Envelope() as envelope, header=ReplyHeader() as header):
            return _prove_reply(envelope, header, trust)
        case Readable(record=audit.Record() as record):
            return _prove_record(record)
        case Readable(content={"kind": "checkpoint"}, data=data):
            return _prove_checkpoint(data, trust)
        case Readable(content={"kind": "document", "protected": {"kind": str(kind)}}, data=data):
            return _prove_document(data, kind, administrators)
        case _:
            return _unproven("there is nothing here that could be signed")


def _unproven(reason: str) -> dict[str, Any]:
    return {"verified": False, "reason": reason}


def _prove_command(
    envelope: Envelope, header: CommandHeader, trust: Trust, subject: str | None
) -> dict[str, Any]:
    named = CommandSubject.parse(subject) if subject else _own_subject(header)
    header.check_subject(named)
    evidence = Evidence.split(envelope.token)
    token = envelope.token if evidence is None else evidence.door
    signer = _identity(token, trust, COMMAND_AUDIENCE, header.iat)
    caller = signer
    if evidence is not None:
        caller = _identity(evidence.caller, trust, COMMAND_AUDIENCE, header.iat)
    if caller.principal != named.principal:
        raise PrincipalMismatch(f"the token was given to {caller.principal!r}")
    signed = command_signing_input(str(named), envelope.protected, envelope.body)
    _check_signature(envelope, header.kid, header.ath, signer, signed)
    proven = {"verified": True, "principal": caller.principal, "issuer": caller.issuer}
    if evidence is None:
        return proven
    _check_proof(evidence, header, caller, named, envelope.body)
    return {**proven, "door": signer.principal}


def _check_proof(
    evidence: Evidence, header: CommandHeader, caller: Identity, named: CommandSubject, body: bytes
) -> None:
    """What a door carries was asked for by its caller, at that time."""
    proof = Proof.verify(evidence.proof, token=evidence.caller, key=caller.key)
    proof.check_times(header.iat / _MS_PER_S, MAX_CLOCK_SKEW_MS / _MS_PER_S)
    if header.id != proof.command_id(header.attempt):
        raise InvalidProof("protected.id is not the one that the proof allows this attempt")
    proof.check_covers(
        Asked(
            named.operation,
            named.database,
            named.collection,
            _arguments(body),
            proof.named_key(header.idem),
            job={"run_at": header.run_at, "order": header.order} if header.is_job else None,
        )
    )


def _arguments(body: bytes) -> dict[str, Any]:
    try:
        arguments = codec.unpack(body)
    except codec.CodecError as error:
        raise MalformedBody(f"body: {error}") from None
    if not isinstance(arguments, dict):
        raise MalformedBody("body: not a map")
    return arguments


def _own_subject(header: CommandHeader) -> CommandSubject:
    principal = header.reply.removeprefix(f"{INBOX_ROOT}.")
    if not header.is_job:
        return CommandSubject(principal, header.db, header.col, header.op)
    line = job_line(scheduled=bool(header.run_at), ordering_key=header.order or "")
    return CommandSubject(principal, header.db, header.col, header.op, JOB, line=line)


def _prove_reply(envelope: Envelope, header: ReplyHeader, trust: Trust) -> dict[str, Any]:
    if not envelope.signature:
        return _unproven("the worker did not sign this reply")
    identity = _identity(envelope.token, trust, REPLY_AUDIENCE, header.time)
    signed = reply_signing_input(envelope.protected, envelope.body)
    _check_signature(envelope, header.kid, header.ath, identity, signed)
    return {"verified": True, "worker": identity.principal, "issuer": identity.issuer}


def _prove_checkpoint(data: bytes, trust: Trust) -> dict[str, Any]:
    from mallku_contracts.trail.checkpoint import CheckpointOpener

    believed = CheckpointOpener(trust).believe(data)
    return {"verified": True, "worker": believed.header.worker, "key": believed.key.kid}


def _prove_document(data: bytes, kind: str, administrators: Keys) -> dict[str, Any]:
    try:
        document = open_document(data, Kind(kind), administrators)
    except ValueError as error:
        return _unproven(str(error))
    return {"verified": True, "administrator": document.key.kid}


def _identity(token: bytes, trust: Trust, audience: str, time_ms: int) -> Identity:
    leeway_s = MAX_CLOCK_SKEW_MS / _MS_PER_S
    return verify_token(
        token, trust, audience=audience, now_s=time_ms / _MS_PER_S, leeway_s=leeway_s
    )


def _check_signature(
    envelope: Envelope, kid: str, ath: bytes, identity: Identity, signed: bytes
) -> None:
    if kid != identity.key.kid or ath != token_hash(envelope.token):
        raise InvalidSignature("the protected part names another key or token than it brings")
    if not identity.key.verify(signed, envelope.signature):
        raise InvalidSignature("the signature does not hold")


def _prove_record(record: audit.Record) -> dict[str, Any]:
    """An intent holds the caller's signature; other records are vouched for by checkpoints."""
    if record.command is None:
        return _unproven("only an intent carries a signature of its own")
    if record.bound.get("audit") == "digest":
        return _unproven("of this command hashes alone are recorded")
    protected, body, signature, raw = record.command
    try:
        key = PublicKey(raw)
    except KeyFormatError as error:
        raise InvalidSignature(f"the record's key: {error}") from None
    if not key.verify(command_signing_input(record.subject, protected, body), signature):
        raise InvalidSignature("the caller's signature does not hold")
    return {"verified": True, "principal": record.principal, "key": key.kid}
