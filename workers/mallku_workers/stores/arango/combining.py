"""Single writes that wait at the same moment, carried out by one query: all of them or none.

A work is fit for it when nothing has to be read before: no document rules, no overwrite mode, a
patch that changes something, one version at most to answer with. Where the query is refused,
nothing of it was done, and the works are done again in a transaction (`writing`), which finds out
which of them failed and why.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mallku_contracts import arguments as a
from mallku_contracts.arguments import Document, is_dry_run
from mallku_contracts.errors import DeadlineExceeded
from mallku_workers.stores.arango import texts
from mallku_workers.stores.arango.answers import answer
from mallku_workers.stores.arango.collection import Collection
from mallku_workers.stores.arango.documents import Stored
from mallku_workers.stores.arango.ledger import claimed, frame, position
from mallku_workers.stores.arango.planning import Change, text_bytes
from mallku_workers.stores.arango.server import Server
from mallku_workers.stores.arango.settings import ArangoSettings
from mallku_workers.stores.arango.writing import SINGLE, Outcome
from mallku_workers.stores.base import Done, Effect, Work
from mallku_workers.stores.documents import (
    SYSTEM,
    is_key,
    locate,
    own_key,
    refuse_deep,
    to_text,
)

LARGE_INTEGER: Final = re.compile(r"(?<![0-9.])[0-9]{16,}(?![0-9.eE])")
"""In JSON: an integer that a bind parameter might round; the document API keeps all of 64 bits."""

_AS_ZEROS: Final = bytes.maketrans(b"123456789", b"0" * 9)
_RUN: Final = b"0" * 16
_BYTES_OF_HEX: Final = 2
_BYTES_OF_CHARACTER: Final = 4


@dataclass(frozen=True, slots=True)
class Prepared:
    """A work that is fit to be combined.

    Attributes:
        group: Works of the same group may go into one query.
        key: The document that it names; two works on one document never go together.
        item: The work as JSON, but for its number.
        text: The query.
    """

    work: Work
    group: Hashable
    key: str | None
    item: str
    text: str


def prepare(work: Work, settings: ArangoSettings, now_ms: int) -> Prepared | None:
    """The work for combining, None where it is not fit.

    Raises:
        InvalidDocument, InvalidKey, InvalidArguments: it cannot be carried out at all.
    """
    name, options = work.operation.name, work.arguments
    if name not in SINGLE or work.rules is not None or is_dry_run(options):
        return None
    if _overwrites(options) or _shows_both(options):
        return None
    collection = Collection(work.collection)
    key, values = _values(collection, options)
    if name == "update" and not values["document"]:
        return None
    written = {part: to_text(value) for part, value in values.items()}
    if "document" in written:
        text_bytes(written["document"], settings.max_document_bytes)
        refuse_deep(values["document"])
    if any(map(has_large_integer, written.values())) or (key is not None and not is_key(key)):
        return None
    entry = to_text(frame(claimed(work.claim, now_ms)))
    parts = "".join(f',"{part}":{value}' for part, value in written.items())
    item = f'{{"deadline":{work.deadline_ms},"entry":{entry}{parts}}}'
    text = _text(name, options)
    return Prepared(work, (work.database, work.collection, text), key, item, text)


def has_large_integer(text: str) -> bool:
    """Whether JSON has a `LARGE_INTEGER`; the pattern is tried where enough digits are in a row."""
    runs = text.encode(errors="replace").translate(_AS_ZEROS)
    return _RUN in runs and LARGE_INTEGER.search(text) is not None


def _overwrites(options: Any) -> bool:
    mode = getattr(options, "overwrite_mode", None)
    return getattr(options, "overwrite", False) or mode not in (None, "conflict")


def _shows_both(options: Any) -> bool:
    """Whether old and new version are answered with, whose sizes nobody knows before."""
    both = getattr(options, "return_new", False) and options.return_old
    return bool(both and not options.silent)


def _values(collection: Collection, options: Any) -> tuple[str | None, dict[str, Any]]:
    """The document's key, and the values of the work that the query uses."""
    if isinstance(options, a.Insert):
        key = own_key(collection, options.document)
        body = _plain(options.document)
        return key, {"document": body if key is None else {**body, "_key": key}}
    key, rev = locate(collection, options.document)
    if isinstance(options, a.Delete):
        rev = options.rev or rev
    target = {"_key": key, "_rev": rev} if options.check_rev and rev else {"_key": key}
    if isinstance(options, a.Delete):
        return key, {"target": target}
    return key, {"target": target, "document": _plain(options.document)}


def _plain(document: Document) -> Document:
    if SYSTEM.isdisjoint(document):
        return document
    return {name: value for name, value in document.items() if name not in SYSTEM}


def _text(name: str, options: Any) -> str:
    return texts.combined_write(
        name,
        keep=getattr(options, "keep_none", True),
        merge=getattr(options, "merge", True),
        return_new=getattr(options, "return_new", False),
        return_old=options.return_old,
        silent=options.silent,
    )


def carry_out(server: Server, prepared: Sequence[Prepared]) -> list[Outcome]:
    """Carry out works of one group; the outcome of each.

    Raises:
        MallkuError: nothing was done, or with `OutcomeUnknown` nobody can say.
    """
    items = ",".join(f'{{"n":{n},{one.item[1:]}' for n, one in enumerate(prepared))
    first = prepared[0]
    others = _binds(first, server.settings)
    binds = f'{{"works":[{items}],{to_text(others)[1:]}'
    rows = {row["n"]: row for row in server.query(first.text, binds)}
    return [_outcome(one.work, rows.get(n)) for n, one in enumerate(prepared)]


def _binds(first: Prepared, settings: ArangoSettings) -> dict[str, Any]:
    name = first.work.collection
    binds: dict[str, Any] = {"@collection": name, "name": name}
    if "@quarter" in first.text:
        binds["quarter"] = settings.max_document_bytes // _BYTES_OF_CHARACTER
        binds["twice"] = settings.max_document_bytes * _BYTES_OF_HEX
    if "@bodies" in first.text:
        binds["bodies"] = settings.ledger_body_bytes
    return binds


def _outcome(work: Work, row: dict[str, Any] | None) -> Outcome:
    if row is None:
        return DeadlineExceeded("the caller's time was over by the database's clock")
    old, new = row["old"], row["new"]
    known = new or old
    old_rev = None if old is None else old["_rev"]
    new_rev = None if new is None else new["_rev"]
    effect = Effect(work.collection, known["_key"], old_rev, new_rev, new)
    result = answer(Stored(Change(old, new), new, effect), work.arguments)
    return Done(result, (effect,), position(row["position"]))
