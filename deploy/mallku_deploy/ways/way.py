"""What the trail holds about one command: its attempts, their steps, and when each took place.

Three clocks speak here. When it was signed is the caller's, the steps are the worker's, and when a
record was stored is the broker's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from mallku_contracts import codec
from mallku_contracts.audit import Record
from mallku_contracts.identifiers import is_uuid7, uuid7_ms
from mallku_contracts.trail.stored import TrailEntry
from mallku_deploy.auditing.lines import Line

ENDS: Final = ("done", "failed", "denied")
_US_PER_MS: Final = 1_000


class Found(NamedTuple):
    """A record, where it stands, and what a person wants to see of it."""

    entry: TrailEntry
    record: Record
    line: Line


class Step(NamedTuple):
    """One step of the pipeline: begin and duration, microseconds since arrival."""

    name: str
    begin_us: int
    took_us: int


@dataclass(slots=True)
class Attempt:
    """One transmission of a command, and all records about it, in the order of the stream."""

    id: str
    records: list[Found] = field(default_factory=list)

    @property
    def intent(self) -> Found | None:
        """The record that stands before the act; none where it was refused before."""
        return self._of(("intent",))

    @property
    def end(self) -> Found | None:
        """What its worker said of it in the end; None while nobody has."""
        return self._of(ENDS)

    @property
    def resolution(self) -> Found | None:
        """The last that a reconciler found out, where the worker could not say."""
        return next(
            (each for each in reversed(self.records) if each.record.kind == "resolved"), None
        )

    @property
    def header(self) -> dict[str, Any]:
        """The protected part that the caller signed; empty where no record holds it."""
        return signed_part(self.intent.record) if self.intent else {}

    @property
    def signed_ms(self) -> int | None:
        """When the caller signed it, Unix milliseconds of their clock; by its id, if need be."""
        signed = self.header.get("iat")
        if isinstance(signed, int):
            return signed
        return uuid7_ms(self.id) if is_uuid7(self.id) else None

    @property
    def arrived_ms(self) -> float | None:
        """When the worker received it, Unix milliseconds of its clock."""
        first = self.intent or self.end
        if first is None or not first.record.steps:
            return None
        return first.record.time - sum(first.record.steps.values()) / _US_PER_MS

    def steps(self) -> list[Step]:
        """What the worker did with it, one after the other."""
        last = self.end or self.intent
        return list(_placed(last.record.steps)) if last else []

    def _of(self, kinds: tuple[str, ...]) -> Found | None:
        return next((each for each in self.records if each.record.kind in kinds), None)


class Way:
    """All attempts of one command.

    Args:
        wanted: The id of any of its transmissions.
    """

    def __init__(self, wanted: str) -> None:
        self.wanted, self.key = wanted, ""
        self._attempts: dict[str, Attempt] = {}

    @property
    def attempts(self) -> list[Attempt]:
        """In the order in which they are on the trail."""
        return list(self._attempts.values())

    @property
    def is_over(self) -> bool:
        """Whether no attempt waits for its end any more."""
        return all(each.end or each.resolution for each in self._attempts.values())

    @property
    def needles(self) -> tuple[bytes, ...]:
        """What the bytes of a record about this command hold: others need not be unpacked."""
        return tuple(text.encode() for text in {self.wanted, self.key} if text)

    def clear(self) -> None:
        """Forget the records, and keep what is known of the command."""
        self._attempts.clear()

    def add(self, found: Found) -> bool:
        """Take a record if it is about this command."""
        record = found.record
        key = signed_part(record).get("idem") if record.kind == "intent" else None
        if record.id == self.wanted and isinstance(key, str):
            self.key = key
        same_key = bool(self.key) and key == self.key
        if not (same_key or record.id == self.wanted or record.id in self._attempts):
            return False
        self._attempts.setdefault(record.id, Attempt(record.id)).records.append(found)
        return True


def signed_part(record: Record) -> dict[str, Any]:
    """What the caller signed beside the body; empty where the record does not hold it."""
    if record.command is None:
        return {}
    try:
        fields = codec.unpack(record.command[0], allow_bytes=True)
    except codec.CodecError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _placed(steps: dict[str, int]) -> Iterator[Step]:
    begin_us = 0
    for name, took_us in steps.items():
        yield Step(name, begin_us, took_us)
        begin_us += took_us
