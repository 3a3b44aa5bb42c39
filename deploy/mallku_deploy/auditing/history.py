"""`audit history`: every version of a document that the trail knows, or the one at a time."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mallku_client.settings import ClientSettings
from mallku_client.trail import AuditReader, Selection, TrailEntry
from mallku_contracts.audit import RecordError
from mallku_contracts.errors import ConfigurationError, DocumentNotFound, MallkuError
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.subjects import NO_COLLECTION
from mallku_deploy.auditing.auditor import open_trail
from mallku_deploy.auditing.changes import conceal
from mallku_deploy.auditing.choosing import now
from mallku_deploy.auditing.governing import find_hiding
from mallku_deploy.auditing.hiding import Hiding
from mallku_deploy.auditing.version_lines import STATES, as_map, describe
from mallku_deploy.auditing.versions import History, State, Version, Wanted, at
from mallku_deploy.decoding.readable import clock
from mallku_deploy.stretch import read_since
from mallku_deploy.terminal import out, say_aside, show_json


@dataclass(frozen=True, slots=True)
class Manner:
    """How a history is shown; `at` asks for the document at a time instead."""

    at: str | None = None
    as_json: bool = False
    policy: Path | None = None


def read_document(text: str, database: str) -> Wanted:
    """Which document `COLLECTION/KEY` means; `ConfigurationError` when it means none."""
    collection, slash, key = text.partition("/")
    if not (collection and slash and key):
        raise ConfigurationError(f"{text[:80]!r} is no COLLECTION/KEY, as in memory_anchors/k1")
    return Wanted(database, collection, key)


async def history(settings: ClientSettings, wanted: Wanted, manner: Manner) -> int:
    """Show the versions of a document; the exit code.

    Raises:
        DocumentNotFound: the trail knows no version, or none that stood at that time.
    """
    moment = None if manner.at is None else int(read_since(manner.at, now()).timestamp() * 1_000)
    async with await open_trail(settings) as reader:
        hiding = await find_hiding(reader, manner.policy)
        found = await collect(reader, wanted)
    if found.left_out:
        say_aside(f"{found.left_out:,} older commits are not listed: there are too many")
    versions = found.versions()
    name = f"{wanted.collection}/{wanted.key}"
    if not versions:
        raise DocumentNotFound(_nothing(name, wanted, found))
    if moment is None:
        _show(shown_versions(versions, wanted, hiding), wanted, as_json=manner.as_json)
    else:
        show_json(document_at(versions, moment, wanted, hiding), compact=manner.as_json)
    return 0


def _nothing(name: str, wanted: Wanted, found: History) -> str:
    said = f"the trail knows no version of {name} in {wanted.database}"
    if not found.hashed:
        return said
    return (
        f"{said}; it holds {found.hashed:,} changes in {wanted.collection} as keyed hashes, of keys"
        f" too: `audit hash` gives the one of {wanted.key!r}, to be named in its place"
    )


async def collect(reader: AuditReader, wanted: Wanted) -> History:
    """Read everything on the trail that may have made a version of the document."""
    selection = Selection(
        databases=(wanted.database,),
        collections=(wanted.collection, NO_COLLECTION),
        operations=tuple(name for name, each in OPERATIONS.items() if each.may_mutate),
        outcomes=("done", "resolved"),
    )
    found = History(wanted)
    async with aclosing(reader.records(selection, unreadable=_unreadable)) as records:
        async for entry, record in records:
            try:
                found.add(entry, record)
            except (KeyError, TypeError) as error:
                _unreadable(entry, error)
    return found


def _unreadable(entry: TrailEntry, error: RecordError | KeyError | TypeError) -> None:
    say_aside(f"sequence {entry.sequence} cannot be read ({error}); `audit verify` says more")


def document_at(
    versions: Sequence[Version], moment: int, wanted: Wanted, hiding: Hiding
) -> dict[str, Any]:
    """The document as it stood at `moment`, Unix milliseconds, without what is hidden.

    Raises:
        DocumentNotFound: it did not stand then, or the trail does not hold that version.
    """
    name, when = f"{wanted.collection}/{wanted.key}", clock(moment)
    stood = at(list(versions), moment)
    if stood is None:
        first = versions[0]
        before = "it was there before" if first.old_rev else "it was not there yet"
        raise DocumentNotFound(
            f"{name} at {when}: {before}; its first record is of {clock(first.time)}"
        )
    if stood.state is State.REMOVED:
        raise DocumentNotFound(
            f"{name} at {when}: removed by {stood.principal} at {clock(stood.time)}"
            f" (sequence {stood.sequence})"
        )
    if stood.document is None or stood.state is not State.DOCUMENT:
        raise _unknown(f"{name} at {when}", stood)
    shown: dict[str, Any] = hiding.veil(stood.document, wanted.database, wanted.collection)
    return shown


def _unknown(what: str, stood: Version) -> MallkuError:
    return DocumentNotFound(
        f"{what}: revision {stood.new_rev or '?'} stood then, and the trail does not hold it;"
        f" {STATES[stood.state]} (sequence {stood.sequence})"
    )


def shown_versions(versions: Sequence[Version], wanted: Wanted, hiding: Hiding) -> list[Version]:
    """The versions without what is hidden."""
    hidden = hiding.paths(wanted.database, wanted.collection)
    return [
        replace(
            one,
            document=hiding.veil(one.document, wanted.database, wanted.collection),
            changes=None
            if one.changes is None
            else tuple(conceal(change, hidden) for change in one.changes),
        )
        for one in versions
    ]


def _show(versions: Sequence[Version], wanted: Wanted, *, as_json: bool) -> None:
    if as_json:
        for one in versions:
            sys.stdout.write(json.dumps(as_map(one), ensure_ascii=False) + "\n")
        return
    count = f"{len(versions)} versions" if len(versions) > 1 else "one version"
    say_aside(f"{wanted.collection}/{wanted.key} in {wanted.database}: {count}")
    for number, one in enumerate(versions, 1):
        for line in describe(number, one):
            out.print(line, soft_wrap=True)
