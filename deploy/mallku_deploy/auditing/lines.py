"""What a person wants to see of a record, in one line: pure, record by record.

A command is one line, made when its outcome comes; what it was about stands in its intent, which is
remembered until then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from mallku_contracts import codec
from mallku_contracts.audit import Record, Resolution, is_of_job, may_end_intent
from mallku_contracts.governed import ADOPT, GATEWAY
from mallku_contracts.subjects import NO_COLLECTION
from mallku_contracts.trail.stored import TrailEntry
from mallku_deploy.auditing.hiding import Hiding

MAX_OPEN: Final = 20_000
"""Intents that are remembered until their outcome comes; beyond that the oldest are forgotten."""

MAX_TARGET_CHARS: Final = 200
"""What a line says a command was about, characters."""

_TOKENS: Final = 8
"""`mallku.v1.audit.<principal>.<database>.<collection>.<operation>.<outcome>`."""

_SHOWN_FACTS: Final = 6


class Place(NamedTuple):
    """What an audit subject says: the part of a record that the server filters by."""

    principal: str
    database: str
    collection: str
    operation: str
    outcome: str

    @classmethod
    def of(cls, subject: str) -> Place:
        """Read an audit subject; whatever is none has question marks for names."""
        tokens = subject.split(".")
        if len(tokens) != _TOKENS:
            return cls("?", "?", NO_COLLECTION, "?", "?")
        return cls(*tokens[3:])


@dataclass(frozen=True, slots=True)
class Line:
    """One command, refusal or word about the gateway.

    Attributes:
        time: When the stream stored its last record, Unix milliseconds.
        target: What it was about, such as `collection/key`.
        kind: `intent`, `done`, `failed`, `denied` or `resolved`.
        detail: The error's code, or what a reconciler found out.
        took_us: From arrival to outcome in the worker, microseconds.
        count: How many refusals it stands for.
        via: The door that carried it; empty where none did.
    """

    sequence: int
    time: int
    principal: str
    operation: str
    target: str
    kind: str
    detail: str = ""
    took_us: int | None = None
    count: int = 1
    via: str = ""


class Lines:
    """Makes lines out of records, in the order of the stream.

    Args:
        hiding: What is not shown.
    """

    def __init__(self, hiding: Hiding) -> None:
        self._hiding = hiding
        self._open: OrderedDict[tuple[str, str, bool], str] = OrderedDict()

    @property
    def open_commands(self) -> int:
        """Intents whose outcome did not come yet."""
        return len(self._open)

    def add(self, entry: TrailEntry, record: Record) -> Line:
        """The line of a record; that of an intent says what its outcome will be about."""
        place = Place.of(entry.subject)
        if record.kind == "intent":
            target = self._asked(place, record)
            self._remember(record, target)
        else:
            known = self._known(record)
            target = _about_gateway(place, record) if record.principal == GATEWAY else ""
            target = target or _touched(place, record) or known or _bare(place)
        return Line(
            entry.sequence,
            entry.time,
            place.principal,
            place.operation,
            target[:MAX_TARGET_CHARS],
            record.kind,
            record.code or record.resolution,
            sum(record.steps.values()) or None,
            record.count,
            door_of(record),
        )

    def _known(self, record: Record) -> str:
        """What the intent was about; forgotten with the record that ends it."""
        name = _name(record)
        refused = record.kind == "denied" and not may_end_intent(record)
        if refused or record.resolution == Resolution.PENDING:
            return self._open.get(name, "")
        return self._open.pop(name, "")

    def _remember(self, record: Record, target: str) -> None:
        self._open[_name(record)] = target
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)

    def _asked(self, place: Place, record: Record) -> str:
        """What an intent's command is about, by its arguments."""
        arguments = arguments_of(record)
        if place.operation == "aql":
            text = self._hiding.veil_query(str(arguments.get("query", "")), place.database)
            return " ".join(text.split()) or _bare(place)
        if place.operation == "transaction":
            return _steps(arguments.get("steps"))
        return _bare(place) + _which(arguments)


def _name(record: Record) -> tuple[str, str, bool]:
    return record.principal, record.id, is_of_job(record.subject)


def door_of(record: Record) -> str:
    """The door that a record names in `via`; empty where there is none."""
    return str(record.via.get("door", ""))


def arguments_of(record: Record) -> dict[str, Any]:
    """What a command asked; empty where a record does not hold it, or holds something else."""
    if record.command is None or record.principal == GATEWAY:
        return {}
    try:
        arguments = codec.unpack(record.command[1])
    except codec.CodecError:
        return {}
    return arguments if isinstance(arguments, dict) else {}


def _touched(place: Place, record: Record) -> str:
    """What an outcome's effects were on: the first document, and how many more."""
    effects = [effect for effect in record.effects if "key" in effect]
    if not effects:
        left_out = sum(_number(effect.get("omitted")) for effect in record.effects)
        return f"{_bare(place)} ({left_out} documents)" if left_out else ""
    first = f"{effects[0].get('collection')}/{effects[0]['key']}"
    return first if len(effects) == 1 else f"{first} +{len(effects) - 1}"


def _number(value: object) -> int:
    return value if type(value) is int else 0


def _about_gateway(place: Place, record: Record) -> str:
    if place.operation == ADOPT:
        what = place.database.removeprefix("mallku_")
        version = "" if place.collection == NO_COLLECTION else f" {place.collection}"
        return f"{what}{version}" + (f": {record.reason}" if record.reason else "")
    facts = list(record.facts.items())[:_SHOWN_FACTS]
    said = " ".join(f"{name}={value}" for name, value in facts)
    return f"{record.worker} {said}".strip()


def _bare(place: Place) -> str:
    return place.database if place.collection == NO_COLLECTION else place.collection


def _which(arguments: Mapping[str, Any]) -> str:
    """Which documents: `/key`, `/key +2`, or the names of the filters."""
    document, documents = arguments.get("document"), arguments.get("documents")
    if document is not None:
        return _key(document)
    if isinstance(documents, list) and documents:
        more = f" +{len(documents) - 1}" if len(documents) > 1 else ""
        return (_key(documents[0]) or "/…") + more
    filters = arguments.get("filters")
    if isinstance(filters, dict) and filters:
        return f"?{','.join(map(str, filters))}"
    for name in ("name", "index", "cursor"):
        if isinstance(arguments.get(name), str):
            return f" {arguments[name]}"
    return ""


def _key(document: object) -> str:
    """The key in a reference or a document: `/key`; nothing where the store makes one."""
    if isinstance(document, Mapping):
        document = document.get("_key") or document.get("_id")
    return f"/{document.rpartition('/')[2]}" if isinstance(document, str) else ""


def _steps(steps: object) -> str:
    """What a transaction is made of."""
    if not isinstance(steps, Sequence):
        return "0 steps"
    said = (
        f"{step.get('operation')} {step.get('collection')}"
        for step in steps[:_SHOWN_FACTS]
        if isinstance(step, Mapping)
    )
    return f"{len(steps)} steps: {', '.join(said)}"
