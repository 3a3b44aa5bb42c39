"""The versions of one document out of the records of its outcomes: pure, record by record.

Records may stand in another order than the commits they tell of; versions are put into the order of
commits, and where one does not follow from the one before, that is said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, NamedTuple

from mallku_contracts.audit import Record, Resolution, is_of_job
from mallku_contracts.trail.stored import TrailEntry
from mallku_deploy.auditing.changes import Change, changes_between
from mallku_deploy.auditing.lines import Place, door_of
from mallku_workers.rebuilding.steps import changes_of

EMPTYING: Final = frozenset({"truncate", "drop-collection"})
"""Operations that remove every document without naming one."""

MAX_VERSIONS: Final = 100_000
"""Commits to one document that are kept; the oldest are let go."""


class State(StrEnum):
    """What is known of a version."""

    DOCUMENT = "document"
    """All of it."""
    REMOVED = "removed"
    """The document was removed."""
    OMITTED = "omitted"
    """The record was too large to hold the new version."""
    DIGEST = "digest"
    """The record holds keyed hashes in the place of values."""
    UNCERTAIN = "uncertain"
    """The record names fewer documents than were changed; this one may be among them."""


@dataclass(frozen=True, slots=True)
class Version:
    """What one commit made of the document.

    Attributes:
        time: When its record was stored, Unix milliseconds.
        rule: The rule that allowed it; empty where the record names none.
        resolved: A reconciler found out that it was committed; the worker died before it said so.
        document: The new version, where the record holds it; of a digest with hashes as values.
        changes: Against the version before, where both are known.
        follows: Whether it was made of the version that stands before it here.
        via: The door that carried the command; empty where none did, or none is recorded.
    """

    sequence: int
    time: int
    position: int | None
    principal: str
    operation: str
    rule: str
    policy: int | None
    command: str
    state: State
    old_rev: str | None = None
    new_rev: str | None = None
    document: dict[str, Any] | None = None
    resolved: bool = False
    changes: tuple[Change, ...] | None = None
    follows: bool = True
    via: str = ""


_Commits = dict[int | None, list[Version]]
"""What commits under one id made, by their positions."""


class Wanted(NamedTuple):
    """Whose versions: the document `collection/key` of a database."""

    database: str
    collection: str
    key: str


class History:
    """Collects versions; `versions` puts them in order.

    Attributes:
        left_out: Older commits that were let go because there were too many.
        hashed: Changes in the collection whose records hold keyed hashes, of keys as well.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._found: dict[tuple[str, str, bool], _Commits] = {}
        self._count = 0
        self.left_out = 0
        self.hashed = 0

    def add(self, entry: TrailEntry, record: Record) -> None:
        """Take one record; whatever is not about the document is passed over.

        Raises:
            KeyError, TypeError: an effect is not what a record holds there.
        """
        place = Place.of(entry.subject)
        if place.database != self._wanted.database or not _is_commit(record):
            return
        command = (record.principal, record.id, is_of_job(record.subject))
        known: _Commits = self._found.get(command, {})
        if _is_told(known, record):
            return
        if made := self._made(place, entry, record):
            if record.kind == "done" and None in known and known[None][0].resolved:
                self._count -= 1
                del known[None]
            self._count += record.position not in known
            known[record.position] = made
            self._found[command] = known
        if self._count > MAX_VERSIONS:
            self._let_go()

    def _let_go(self) -> None:
        oldest, commits = next(iter(self._found.items()))
        del commits[next(iter(commits))]
        if not commits:
            del self._found[oldest]
        self._count -= 1
        self.left_out += 1

    def versions(self) -> list[Version]:
        """Oldest first, with what changed from each to the next."""
        commits = self._found.values()
        found = _in_order([one for each in commits for made in each.values() for one in made])
        return [_compared(before, one) for before, one in zip([None, *found], found, strict=False)]

    def _made(self, place: Place, entry: TrailEntry, record: Record) -> list[Version]:
        common = _common(place, entry, record)
        changes, complete = changes_of(record)
        hashed = any(effect.get("audit") == "digest" for effect in record.effects)
        self.hashed += sum(hashed and one.collection == self._wanted.collection for one in changes)
        made = [
            Version(
                **common,
                state=_state(one.new, one.new_rev, recorded=one.recorded, hashed=hashed),
                old_rev=one.old_rev,
                new_rev=one.new_rev,
                document=one.new if isinstance(one.new, dict) else None,
            )
            for one in changes
            if (one.collection, one.key) == self._wanted[1:]
        ]
        if made:
            return made
        if place.operation in EMPTYING and place.collection == self._wanted.collection:
            return [Version(**common, state=State.REMOVED)] if self._stands() else []
        return [] if complete else [Version(**common, state=State.UNCERTAIN)]

    def _stands(self) -> bool:
        """Whether the document was there when the last record was taken, as far as is known."""
        last = next(reversed(self._found.values()), None)
        if last is None:
            return False
        return next(reversed(last.values()))[-1].state is not State.REMOVED


def _is_told(known: _Commits, record: Record) -> bool:
    """Whether it tells of a commit that is known: of one that was resolved, and whose outcome came.

    Under one id there may be several: ids are callers' to choose, and of jobs nobody counts them.
    """
    resolved = record.kind == "resolved"
    if resolved and (record.position is None or None in known):
        return bool(known)
    same = known.get(record.position)
    return same is not None and (resolved or not same[0].resolved)


def _is_commit(record: Record) -> bool:
    committed = record.kind == "done" or record.resolution == Resolution.COMMITTED
    return committed and record.replayed_of is None


def _common(place: Place, entry: TrailEntry, record: Record) -> dict[str, Any]:
    return {
        "sequence": entry.sequence,
        "time": entry.time,
        "position": record.position,
        "principal": place.principal,
        "operation": place.operation,
        "rule": record.rule or "",
        "policy": record.policy,
        "command": record.id,
        "resolved": record.kind == "resolved",
        "via": door_of(record),
    }


def _state(new: object, new_rev: str | None, *, recorded: bool, hashed: bool) -> State:
    if new_rev is None:
        return State.REMOVED
    if hashed:
        return State.DIGEST
    return State.DOCUMENT if recorded and isinstance(new, dict) else State.OMITTED


def _in_order(found: list[Version]) -> list[Version]:
    """By commit; what has no position stays behind what stood before it in the stream."""
    positions: list[int] = []
    highest = 0
    for one in found:
        highest = max(highest, one.position or 0)
        positions.append(highest if one.position is None else one.position)
    order = sorted(range(len(found)), key=lambda place: positions[place])
    return [found[place] for place in order]


def _compared(before: Version | None, one: Version) -> Version:
    follows = before is None or _follows(before, one)
    if one.old_rev is None:
        base: dict[str, Any] | None = {}
    else:
        base = before.document if before is not None and follows else None
    if one.document is None or base is None:
        return replace(one, follows=follows)
    changes = tuple(changes_between(base, one.document))
    return replace(one, follows=follows, changes=changes)


def _follows(before: Version, one: Version) -> bool:
    """Whether a version was made of the one before it; of what is uncertain nobody can tell."""
    if State.UNCERTAIN in {before.state, one.state} or one.operation in EMPTYING:
        return True
    return one.old_rev == before.new_rev


def at(versions: list[Version], time_ms: int) -> Version | None:
    """The version that stood at a time; None before the first that is known."""
    stood = [version for version in versions if version.time <= time_ms]
    return stood[-1] if stood else None
