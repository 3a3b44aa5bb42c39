"""Whether a message proves itself: token, key and signature, judged by a trust document.

Tokens are judged at the message's own time, so that an old message can still be checked. What only
the asker can know, that a reply answers their command, is not judged here.
"""

from __future__ import annotations

from typing import Any

from mallku_contracts import audit
from mallku_contracts.envelope import (
    CommandHeader,
    Envelope,
    ReplyHeader,
    command_signing_input,
    reply_signing_input,
    token_hash,
)
from mallku_contracts.errors import InvalidSignature, MallkuError, PrincipalMismatch
from mallku_contracts.keys import KeyFormatError, PublicKey
from mallku_contracts.limits import MAX_CLOCK_SKEW_MS
from mallku_contracts.subjects import INBOX_ROOT, CommandSubject
from mallku_contracts.tokens import COMMAND_AUDIENCE, REPLY_AUDIENCE, Identity, verify_token
from mallku_contracts.trust import Trust
from mallku_deploy.decoding.readable import Readable


def prove(message: Readable, trust: Trust, subject: str | None) -> dict[str, Any]:
    """`{"verified": True, …}`, or False with the reason.

    Args:
        subject: Where the message was seen; without it, a command's own names are used.
    """
    try:
        if isinstance(message.header, CommandHeader) and message.envelope is not None:
            return _prove_command(message.envelope, message.header, trust, subject)
        if isinstance(message.header, ReplyHeader) and message.envelope is not None:
            return _prove_reply(message.envelope, message.header, trust)
        if message.record is not None:
            return _prove_record(message.record)
    except MallkuError as error:
        return {"verified": False, "reason": f"{error.number} {error.code}: {error.message}"}
    return {"verified": False, "reason": "there is nothing here that could be signed"}


def _prove_command(
    envelope: Envelope, header: CommandHeader, trust: Trust, subject: str | None
) -> dict[str, Any]:
    named = CommandSubject.parse(subject) if subject else _own_subject(header)
    header.check_subject(named)
    identity = _identity(envelope.token, trust, COMMAND_AUDIENCE, header.iat)
    if identity.principal != named.principal:
        raise PrincipalMismatch(f"the token was given to {identity.principal!r}")
    signed = command_signing_input(str(named), envelope.protected, envelope.body)
    _check_signature(envelope, header.kid, header.ath, identity, signed)
    return {"verified": True, "principal": identity.principal, "issuer": identity.issuer}


def _own_subject(header: CommandHeader) -> CommandSubject:
    principal = header.reply.removeprefix(f"{INBOX_ROOT}.")
    return CommandSubject(principal, header.db, header.col, header.op)


def _prove_reply(envelope: Envelope, header: ReplyHeader, trust: Trust) -> dict[str, Any]:
    if not envelope.signature:
        return {"verified": False, "reason": "the worker did not sign this reply"}
    identity = _identity(envelope.token, trust, REPLY_AUDIENCE, header.time)
    signed = reply_signing_input(envelope.protected, envelope.body)
    _check_signature(envelope, header.kid, header.ath, identity, signed)
    return {"verified": True, "worker": identity.principal, "issuer": identity.issuer}


def _identity(token: bytes, trust: Trust, audience: str, time_ms: int) -> Identity:
    leeway_s = MAX_CLOCK_SKEW_MS / 1000
    return verify_token(token, trust, audience=audience, now_s=time_ms / 1000, leeway_s=leeway_s)


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
        return {"verified": False, "reason": "only an intent carries a signature of its own"}
    if record.bound.get("audit") == "digest":
        return {"verified": False, "reason": "of this command hashes alone are recorded"}
    protected, body, signature, raw = record.command
    try:
        key = PublicKey(raw)
    except KeyFormatError as error:
        raise InvalidSignature(f"the record's key: {error}") from None
    if not key.verify(command_signing_input(record.subject, protected, body), signature):
        raise InvalidSignature("the caller's signature does not hold")
    return {"verified": True, "principal": record.principal, "key": key.kid}
