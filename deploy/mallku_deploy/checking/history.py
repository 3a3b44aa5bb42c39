"""Reads what clients wrote down about their calls (`mallku_client.history`)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from mallku_client.history import BEGIN, CUT, END, VERSION
from mallku_contracts.errors import ConfigurationError, IdempotencyConflict


@dataclass(frozen=True, slots=True)
class Call:
    """One call. Times are microseconds of the client's clock.

    Attributes:
        end: None while nobody was told anything.
        outcome: `done`, `failed` (nothing was done) or `outcome_unknown`.
        code: The error's code; `done` with a code is an effect without a result.
        id: Of the first transmission; `answered_id` that of the one that was answered.
    """

    client: str
    number: int
    principal: str
    database: str
    collection: str
    operation: str
    mutates: bool
    idempotency_key: str
    id: str
    arguments: dict[str, Any]
    begin: int
    end: int | None = None
    outcome: str = "outcome_unknown"
    code: str = ""
    answered_id: str = ""
    attempts: int = 0
    replayed: bool = False
    result: Any = None
    receipt: dict[str, Any] | None = None

    @property
    def name(self) -> tuple[str, str]:
        """What all its attempts share."""
        return (self.principal, self.idempotency_key)

    def __str__(self) -> str:
        told = self.outcome if not self.code else f"{self.outcome} ({self.code})"
        return f"{self.client}#{self.number} {self.operation} {self.collection}: {told}"


@dataclass(slots=True)
class Histories:
    """All calls of some histories.

    Attributes:
        cut: Clients whose histories had no more room: calls of theirs are missing.
    """

    calls: list[Call] = field(default_factory=list[Call])
    cut: set[str] = field(default_factory=set[str])


def read_histories(lines: Iterable[bytes], origin: str = "history") -> Histories:
    """Read the lines of one or several histories, in whatever order the clients wrote them.

    A last line that was not finished is what a killed client leaves; it is passed over.

    Raises:
        ConfigurationError: a line is none of a history; its number.
    """
    begun: dict[tuple[str, int], Call] = {}
    found = Histories()
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            continue
        try:
            _take(json.loads(line), begun, found)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{origin}, line {number}: no history line: {error}") from None
    found.calls = sorted(begun.values(), key=lambda call: call.begin)
    return found


def _take(fields: dict[str, Any], begun: dict[tuple[str, int], Call], found: Histories) -> None:
    if fields["v"] != VERSION:
        raise ValueError(f"version {fields['v']!r}")
    name = (fields["client"], fields["call"])
    if fields["event"] == CUT:
        found.cut.add(fields["client"])
    elif fields["event"] == BEGIN:
        begun[name] = _begun(fields)
    elif fields["event"] == END:
        begun[name] = _ended(begun[name], fields)
    else:
        raise ValueError(f"event {fields['event']!r}")


def _begun(fields: dict[str, Any]) -> Call:
    return Call(
        client=fields["client"],
        number=fields["call"],
        principal=fields["principal"],
        database=fields["database"],
        collection=fields["collection"],
        operation=fields["operation"],
        mutates=fields["mutates"],
        idempotency_key=fields["idempotency_key"],
        id=fields["id"],
        arguments=fields["arguments"],
        begin=fields["at"],
    )


def _ended(call: Call, fields: dict[str, Any]) -> Call:
    return replace(
        call,
        end=fields["at"],
        outcome=fields["outcome"],
        code=fields.get("code", ""),
        answered_id=fields.get("id", ""),
        attempts=fields.get("attempts", 0),
        replayed=fields.get("replayed", False),
        result=fields.get("result"),
        receipt=fields.get("receipt"),
    )


def commands_of(calls: Iterable[Call]) -> list[Call]:
    """The calls with those put together that share an idempotency key: they are one command.

    It may have had its effect since the first of them began, and had it when the first was told
    so. One that conflicted with the key is a command of its own, which did nothing.
    """
    groups: dict[tuple[str, str], list[Call]] = {}
    alone: list[Call] = []
    for call in calls:
        if call.code == IdempotencyConflict.code or not call.mutates:
            alone.append(call)
        else:
            groups.setdefault(call.name, []).append(call)
    return sorted([*alone, *map(_together, groups.values())], key=lambda call: call.begin)


def _together(group: list[Call]) -> Call:
    if len(group) == 1:
        return group[0]
    begin = min(call.begin for call in group)
    done = [call for call in group if call.outcome == "done"]
    if done:
        first = min(done, key=lambda call: call.end or 0)
        told = next((call for call in done if not call.code), first)
        return replace(told, begin=begin, end=first.end)
    unknown = [call for call in group if call.outcome != "failed"]
    return replace((unknown or group)[0], begin=begin)
