"""One message of the audit stream as a verifier needs it: what can be judged of it alone.

Reading an entry needs nothing but the message, so that many processes can do it at once; what it
means among the others is for `verification` to say.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mallku_contracts import codec
from mallku_contracts.audit import Record, RecordError, may_end_intent, record_hash
from mallku_contracts.dpop import Proof
from mallku_contracts.envelope import CommandHeader, command_signing_input
from mallku_contracts.errors import EnvelopeError, InvalidProof, InvalidSubject
from mallku_contracts.governed import GATEWAY
from mallku_contracts.keys import KeyFormatError, PublicKey
from mallku_contracts.subjects import NO_COLLECTION, PREFIX, CommandSubject, audit_subject
from mallku_contracts.trail.digests import MARK
from mallku_contracts.trail.findings import Finding, Kind
from mallku_contracts.trail.governing import Adopted, NotSigned, read_adoption
from mallku_contracts.trail.rotation import Rotation, read_rotation

_AUDIT_TOKENS: Final = 8
_ABOUT_GATEWAY: Final = f"{PREFIX}.audit.{GATEWAY}."
_UNREADABLE: Final = ("unknown", NO_COLLECTION, "unknown")
"""Database, collection and operation of refusals whose own subject could not be read."""


class Entry(NamedTuple):
    """One record, with its place, its hash, and what is wrong with it when looked at alone.

    Attributes:
        sequence: Where it stands in the stream.
        hash: SHA-256 of its bytes.
        worker: Empty when the message is no record; then only `problems` says something.
        number, kind, time, id, principal, subject, kid, replayed_of: As in `Record`.
        stands_for: How many refusals it stands for, the record's `count`.
        granted: A rule allowed the command before this was written, and it was no replay: whoever
            sends the bytes of a command again ends nothing.
        resolves: The worker, number and sequence of the intent that a resolution closes.
        resolution: What it found out.
        signed: Whether a caller's signature was checked.
        rotation: What the first record of one of the trail's streams says of the one before.
        adopted: The signed document that a worker put in force.
        hidden: An intent that holds keyed hashes in the place of what was signed.
        problems: Findings about this record alone.
    """

    sequence: int
    hash: bytes
    worker: str = ""
    number: int = 0
    kind: str = ""
    time: int = 0
    id: str = ""
    principal: str = ""
    subject: str = ""
    kid: str = ""
    replayed_of: str = ""
    stands_for: int = 1
    granted: bool = False
    resolves: tuple[str, int, int] | None = None
    resolution: str = ""
    signed: bool = False
    hidden: bool = False
    rotation: Rotation | None = None
    adopted: Adopted | None = None
    problems: tuple[Finding, ...] = ()


def read_entry(sequence: int, subject: str, data: bytes, *, signatures: bool = True) -> Entry:
    """Read one message; nothing is raised, whatever it holds.

    Args:
        sequence: Its place in the stream.
        subject: The subject that it was stored under.
        signatures: Check callers' signatures as well, which costs more than everything else.
    """
    digest = record_hash(data)
    try:
        record = Record.read(data)
    except RecordError as error:
        problem = Finding(Kind.MALFORMED, f"{subject}: {error}", sequence)
        return Entry(sequence, digest, problems=(problem,))
    texts = [(Kind.MISPLACED, text) for text in _misplaced(record, subject)]
    intended = record.kind == "intent"
    hidden = intended and _is_hidden(record)
    signed = signatures and intended and not hidden
    if intended:
        texts += _asked(record, check_signature=signed)
    adopted, complaint = _adoption(record, subject)
    texts += [(Kind.UNGOVERNED, complaint)] if complaint else []
    problems = tuple(
        Finding(kind, text, sequence, record.worker, record.number) for kind, text in texts
    )
    read = _entry(record, sequence, digest, problems)
    return read._replace(signed=signed, hidden=hidden, adopted=adopted)


def _adoption(record: Record, subject: str) -> tuple[Adopted | None, str]:
    """The document that was taken; or what does not hold about it."""
    try:
        return read_adoption(record, subject), ""
    except NotSigned as error:
        return None, f"{subject}: {error}"


def _entry(record: Record, sequence: int, digest: bytes, problems: tuple[Finding, ...]) -> Entry:
    intent = record.resolves
    return Entry(
        sequence,
        digest,
        record.worker,
        record.number,
        record.kind,
        record.time,
        record.id,
        record.principal,
        record.subject,
        record.kid,
        record.replayed_of or "",
        record.count,
        may_end_intent(record),
        (intent["worker"], intent["number"], intent["sequence"]) if intent else None,
        record.resolution,
        rotation=read_rotation(record),
        problems=problems,
    )


def _misplaced(record: Record, subject: str) -> list[str]:
    """Why this record does not belong under this subject, if it does not."""
    if not record.worker or not record.number:
        return ["it does not say which worker wrote it, or has the number 0"]
    if record.principal == GATEWAY:
        return _misplaced_about_gateway(record, subject)
    if subject == _own_place(record) or (
        record.kind == "denied" and _is_unreadable(record, subject)
    ):
        return []
    return [f"a {record.kind} of {record.subject!r} stands under {subject!r}"]


def _own_place(record: Record) -> str:
    """The audit subject that follows from the record's own subject; empty where there is none."""
    try:
        named = CommandSubject.parse(record.subject)
    except InvalidSubject:
        return ""
    return audit_subject(named, record.kind) if named.principal == record.principal else ""


def _is_unreadable(record: Record, subject: str) -> bool:
    try:
        named = CommandSubject(record.principal, *_UNREADABLE)
    except InvalidSubject:
        return False
    return subject == audit_subject(named, record.kind)


def _misplaced_about_gateway(record: Record, subject: str) -> list[str]:
    tokens = subject.split(".", _AUDIT_TOKENS)
    fits = (
        subject.startswith(_ABOUT_GATEWAY)
        and len(tokens) == _AUDIT_TOKENS
        and tokens[-1] == record.kind
        and not record.id
        and record.kind in ("done", "denied")
    )
    return [] if fits else [f"a {record.kind} about the gateway stands under {subject!r}"]


def _asked(record: Record, *, check_signature: bool) -> list[tuple[Kind, str]]:
    """What is wrong with an intent: the signed bytes against the record, then the signature."""
    if record.command is None:
        return [(Kind.SIGNATURE, f"the intent of {record.id} holds no signed command")]
    protected, body, signature, raw = record.command
    try:
        header, key = CommandHeader.read(protected), PublicKey(raw)
        named = CommandSubject.parse(record.subject)
        header.check_subject(named)
    except (EnvelopeError, InvalidSubject, KeyFormatError) as error:
        return [(Kind.MISMATCH, f"the command of {record.id}: {error}")]
    differing = _differing(record, header, named, key)
    if differing:
        return [(Kind.MISMATCH, f"{record.id}: record and signed command differ in {differing}")]
    signed = command_signing_input(record.subject, protected, body)
    if check_signature and not key.verify(signed, signature):
        return [(Kind.SIGNATURE, f"{record.principal}'s signature of {record.id} does not hold")]
    return _carried(record, header, named, body) if record.via and check_signature else []


def _carried(
    record: Record, header: CommandHeader, named: CommandSubject, body: bytes
) -> list[tuple[Kind, str]]:
    """What is wrong with the caller's proof of a command that a door signed."""
    about = f"{record.id}: {record.principal}'s proof does not hold"
    try:
        proof = Proof.read(record.via["proof"])
        proof.check_covers_command(header, named, codec.unpack(body))
        made_for = (record.via["kid"], header.id)
    except (InvalidProof, codec.CodecError, KeyError, AttributeError) as error:
        return [(Kind.SIGNATURE, f"{about}: {error}")]
    if made_for != (proof.key.kid, proof.command_id(header.attempt)):
        return [(Kind.SIGNATURE, f"{about}: made with another key or for another transmission")]
    return []


def _is_hidden(record: Record) -> bool:
    """Whether body and signature were left out, because the collection must not be copied."""
    marked = all(record.bound.get(name) == value for name, value in MARK.items())
    return marked and record.command is not None and record.command[1:3] == (b"", b"")


def _differing(record: Record, header: CommandHeader, named: CommandSubject, key: PublicKey) -> str:
    pairs = {
        "id": (record.id, header.id),
        "principal": (record.principal, named.principal),
        "attempt": (record.attempt, header.attempt),
        "key id": (record.kid, header.kid),
        "key": (header.kid, key.kid),
    }
    return ", ".join(name for name, (said, signed) in pairs.items() if said != signed)
