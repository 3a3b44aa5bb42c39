"""The records of the audit trail: one record, one message, one msgpack map (`docs/wire.md`).

An intent says who asked for what, before anything is done: it holds the signed bytes themselves,
so that anybody with the caller's public key can check the signature again. An outcome (`done`,
`failed`, `denied`) says what became of it. Tokens are never recorded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from functools import partial
from typing import Any, Final, Self

from mallku_contracts import codec
from mallku_contracts.errors import Replayed
from mallku_contracts.subjects import JOB, OUTCOMES, PREFIX

VERSION: Final = 1

ROTATION: Final = "generation"
"""The fact of a `rotate` record that names it: which of the trail's streams begins here."""

OutcomeName = tuple[str, str, str, bool]
"""Worker, principal, transmission, and whether it is a durable job."""


CHOSEN: Final = "i."
"""Message ids that begin so are their callers' to choose, and may come again: those of intents.
Behind it stand the principal, a dot, and the transmission."""


class Resolution(StrEnum):
    """What the reconciler found out about an intent that had no outcome."""

    COMMITTED = "committed"
    """The ledger holds what it did."""
    NOT_APPLIED = "not-applied"
    """Nothing was done, and nothing can be done any more."""
    PENDING = "pending"
    """Nobody can know yet."""
    POSSIBLY_ANSWERED = "possibly-answered"
    """A read, of which nobody knows whether its answer arrived."""


class RecordError(ValueError):
    """The bytes are not an audit record; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record. Times are Unix milliseconds of the worker's clock.

    Attributes:
        kind: `intent`, `done`, `failed`, `denied` or `resolved`.
        worker: Instance id of the worker that wrote it.
        number: Counts this worker's records from 1, without gaps.
        time: When it was written.
        id: The command's transmission id; empty when none could be read.
        principal: Who asked; for refusals before identification, who the subject claimed.
        subject: The subject on which the command came.
        attempt: The attempt's number, 0 when none could be read.
        kid: Key id of the caller's key; empty before identification.
        issuer: Who issued the caller's token; empty before identification.
        roles: The token's roles.
        policy: The version of the policy that decided; None before authorization.
        rule: The rule that allowed it, `role/id`; None where none did.
        bound: In the intent of a mutation: what it is held to, with the caller's own values.
        command: In an intent or an adoption: protected part, body, signature and public key.
        code: The error's code in `failed` and `denied`.
        number_of: The error's number beside `code`.
        effects: In `done`, one map for each document touched, in commit order; in `resolved` as
            `committed`, as much of it as could still be known.
        position: There, where the commit stands among all commits of the store.
        replayed_of: In `done`, the transmission whose ledger entry answered.
        steps: Microseconds spent in each step of the pipeline, by its name.
        count: How many refusals a summarising `denied` record stands for.
        reason: In a refusal of a signed document, and in `resolved`, why.
        trace: The W3C trace id of the caller's request, 32 hexadecimal digits; empty without one.
        resolves: In `resolved`, the intent it closes: its `worker`, `number` and stream `sequence`.
        resolution: In `resolved`, what was found out: a `Resolution`.
        via: Where a door signed: its name as `door`, the caller's key id as `kid` once it is
            proven; in the intent also the caller's `proof`. The record's `kid` and the key in
            `command` are the door's.
        facts: About the gateway itself, what there is to say; of a catalog's change its `result`.
    """

    kind: str
    worker: str
    number: int
    time: int
    id: str
    principal: str
    subject: str
    attempt: int = 0
    kid: str = ""
    issuer: str = ""
    roles: tuple[str, ...] = ()
    policy: int | None = None
    rule: str | None = None
    bound: dict[str, Any] = field(default_factory=dict)
    command: tuple[bytes, bytes, bytes, bytes] | None = None
    code: str | None = None
    number_of: int | None = None
    effects: tuple[dict[str, Any], ...] = ()
    position: int | None = None
    replayed_of: str | None = None
    steps: dict[str, int] = field(default_factory=dict)
    count: int = 1
    reason: str = ""
    trace: str = ""
    resolves: dict[str, Any] = field(default_factory=dict)
    resolution: str = ""
    via: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """The record as a map, by the names of its fields."""
        return {name: getattr(self, name) for name in _DEFAULTS}

    def pack(self) -> bytes:
        """The record's bytes, as `pack_fields` makes them."""
        return pack_fields(self.fields())

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read a record; `RecordError` when the bytes are not one, naming the field."""
        try:
            values = codec.unpack(data, allow_bytes=True)
        except codec.CodecError as error:
            raise RecordError(str(error)) from None
        if not isinstance(values, dict) or not _is_version(values.pop("v", None)):
            raise RecordError(f"not a record of version {VERSION}")
        for name, value in values.items():
            holds = _HOLDS.get(name)
            if holds is None or not holds(value):
                raise RecordError(f"{name[:40]}: unknown, or not what a record holds there")
        try:
            return cls(**{name: _frozen(value) for name, value in values.items()})
        except TypeError:
            raise RecordError(f"one of {', '.join(_REQUIRED)} is missing") from None


_DEFAULTS: Final[dict[str, Any]] = {
    entry.name: {} if entry.default_factory is not MISSING else entry.default
    for entry in fields(Record)
}
_REQUIRED: Final = tuple(name for name, default in _DEFAULTS.items() if default is MISSING)
_COMMAND_PARTS: Final = 4
_JOBS: Final = f"{PREFIX}.{JOB}."


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _is_version(value: object) -> bool:
    return type(value) is int and value == VERSION


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_list_of(kind: type, value: object) -> bool:
    return isinstance(value, list) and all(type(item) is kind for item in value)


def _is_intent(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"worker", "number", "sequence"}
        and _is_text(value["worker"])
        and _is_count(value["number"])
        and _is_count(value["sequence"])
    )


_HOLDS: Final[dict[str, Callable[[Any], bool]]] = {
    "kind": OUTCOMES.__contains__,
    "worker": _is_text,
    "number": _is_count,
    "time": _is_count,
    "id": _is_text,
    "principal": _is_text,
    "subject": _is_text,
    "attempt": _is_count,
    "kid": _is_text,
    "issuer": _is_text,
    "roles": partial(_is_list_of, str),
    "policy": _is_count,
    "rule": _is_text,
    "bound": lambda value: isinstance(value, dict),
    "command": lambda value: _is_list_of(bytes, value) and len(value) == _COMMAND_PARTS,
    "code": _is_text,
    "number_of": _is_count,
    "effects": partial(_is_list_of, dict),
    "position": _is_count,
    "replayed_of": _is_text,
    "steps": lambda value: isinstance(value, dict) and all(map(_is_count, value.values())),
    "count": _is_count,
    "reason": _is_text,
    "trace": _is_text,
    "resolves": _is_intent,
    "resolution": tuple(Resolution).__contains__,
    "via": lambda value: isinstance(value, dict),
    "facts": lambda value: isinstance(value, dict),
}


def pack_fields(fields: Mapping[str, Any]) -> bytes:
    """The bytes of a record that is given as a map of fields of `Record`.

    They are a map with `v` and every field that differs from its default. Workers write two records
    for each command, and have no use for the objects in between.

    Raises:
        KeyError: there is no such field.
    """
    record = {name: value for name, value in fields.items() if value != _DEFAULTS[name]}
    return codec.pack_trusted({"v": VERSION, **record})


def may_end_intent(record: Record) -> bool:
    """Whether a refusal may end the intent that its worker wrote for the same transmission.

    Only once a rule had allowed the command, and never for a replay: anybody may send the bytes of
    a command again while it is under way.
    """
    return record.rule is not None and record.code != Replayed.code


def is_of_job(subject: str) -> bool:
    """Whether a record is about a durable job, by the `subject` in it."""
    return subject.startswith(_JOBS)


def outcome_name(worker: str, principal: str, command: str, subject: str) -> OutcomeName:
    """What an intent and its outcome have in common: whoever pairs them goes by this.

    A worker has one intent at a time under it. An id is its caller's to choose: a job and a command
    may have the same, and are two transmissions.
    """
    return worker, principal, command, is_of_job(subject)


def record_hash(data: bytes) -> bytes:
    """SHA-256 of a record's bytes: what a receipt carries."""
    return hashlib.sha256(data).digest()


def message_id(record: Mapping[str, Any]) -> str:
    """The `Nats-Msg-Id` of a record, a map of fields of `Record`, of which some may be left out.

    It names one intent for each transmission, else one record each.

    A resolution is named by the intent that it closes, so that several reconcilers write one, and
    a rotation by the stream that begins. A durable job is delivered until it is done, and has an
    intent for each time.

    The stream's memory of intents tells every worker what any has seen; the principal stands in
    its ids because they are the caller's to choose. Nothing else may be named by the caller: an
    outcome under an id that the stream still remembers would be taken for a duplicate and dropped.
    """
    kind = record["kind"]
    if kind == "intent" and not is_of_job(record["subject"]):
        return f"{CHOSEN}{record['principal']}.{record['id']}"
    if kind == "resolved" and (intent := record.get("resolves")):
        return f"r.{intent['worker']}.{intent['number']}.{record['resolution']}"
    if (facts := record.get("facts")) and ROTATION in facts:
        return f"g.{facts[ROTATION]}"
    return f"o.{record['worker']}.{record['number']}"
