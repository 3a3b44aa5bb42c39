"""Documents before they are stored: keys, references, edges, and ArangoDB's way to merge.

Pure functions over plain maps, the same for every store; nothing that is passed in is changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final, Protocol

from mallku_contracts.arguments import Document, Reference
from mallku_contracts.codec import is_deeper
from mallku_contracts.document_keys import KEY_PATTERN, check_key
from mallku_contracts.document_keys import is_key as is_key  # noqa: PLC0414 - stores take it from here
from mallku_contracts.errors import (
    DocumentError,
    InvalidArguments,
    InvalidDocument,
    InvalidEdge,
    InvalidKey,
    ResourceLimit,
    ResultTooLarge,
    RevisionMismatch,
)
from mallku_contracts.limits import MAX_DEPTH, MAX_EFFECT_BYTES, MAX_ROW_DEPTH

_HANDLE: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_-]{{0,255}}/{KEY_PATTERN}")
SYSTEM: Final = frozenset({"_id", "_key", "_rev"})
"""Attributes that are the store's to set."""

_BODIES: Final = frozenset({"new", "old"})
_HEAD: Final[Document] = {"_key": None, "_id": None, "_rev": None}

_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


class Collection(Protocol):
    """What has to be known of a collection to make documents for it."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def edge(self) -> bool:
        """Whether its documents are edges."""
        ...


def to_text(value: Any) -> str:
    """JSON as it is stored: no blanks, no escapes but the necessary ones, one spelling a value.

    Raises:
        InvalidDocument: where something in it is not a JSON value.
    """
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidDocument(f"the document cannot be stored: {error}") from None


def is_storable(text: str) -> bool:
    """Whether a text is Unicode that can be written down: no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def locate(collection: Collection, reference: Reference) -> tuple[str, str | None]:
    """The key that a reference names, and the revision that it carries.

    Raises:
        InvalidArguments: where it names none, or an id of another collection.
    """
    if isinstance(reference, str):
        return (_key_of_id(collection, reference) if "/" in reference else reference), None
    handle, rev = reference.get("_id"), reference.get("_rev")
    key = reference.get("_key") if handle is None else _key_of_id(collection, handle)
    if not isinstance(key, str):
        raise InvalidArguments("the document names neither _key nor _id")
    return key, rev if isinstance(rev, str) else None


def _key_of_id(collection: Collection, handle: object) -> str:
    prefix = f"{collection.name}/"
    if not isinstance(handle, str) or not handle.startswith(prefix):
        raise InvalidArguments(f"{handle!r:.120} is not the id of a document in {collection.name}")
    return handle[len(prefix) :]


def named_keys(collection: Collection, references: Iterable[Reference]) -> list[str]:
    """The keys that documents or references name, as far as they can be read."""
    keys: list[str] = []
    for reference in references:
        try:
            if isinstance(reference, str):
                keys.append(locate(collection, reference)[0])
            elif (key := own_key(collection, reference)) is not None:
                keys.append(key)
        except (DocumentError, InvalidArguments):
            continue  # the write itself will say what is wrong with it
    return keys


def own_key(collection: Collection, document: Document) -> str | None:
    """The key that a new document brings along, None when one has to be made.

    Raises:
        InvalidKey: where it does not follow the grammar (ArangoDB manual, "Document Keys").
    """
    key = document.get("_key")
    if key is None:
        if document.get("_id") is None:
            if "_key" in document:
                raise InvalidKey("the document key is null")
            return None
        key = _key_of_id(collection, document["_id"])
    return check_key(key)


def whole(collection: Collection, key: str, rev: str, body: Document) -> Document:
    """A document with its system attributes, as an insert or a replace stores it."""
    document = {**_HEAD, **body}
    document["_key"] = key
    document["_id"] = f"{collection.name}/{key}"
    document["_rev"] = rev
    if collection.edge:
        _check_end(document, "_from")
        _check_end(document, "_to")
    else:
        document.pop("_from", None)
        document.pop("_to", None)
    return document


def patched(
    collection: Collection, old: Document, patch: Document, *, keep_none: bool, merge: bool
) -> Document:
    """`old` with the attributes of `patch`, still under the old revision.

    With `merge` objects are merged, else replaced; arrays are always replaced. Without `keep_none`
    attributes that are null in `patch`, on any level outside arrays, are removed.
    """
    new = {name: value for name, value in patch.items() if name not in SYSTEM}
    if not collection.edge:
        new.pop("_from", None)
        new.pop("_to", None)
    document = _merged(old, new, keep_none=keep_none, merge=merge)
    if collection.edge:
        for end in ("_from", "_to"):
            if end in new:
                _check_end(new, end)
    return document


def _merged(old: Document, patch: Document, *, keep_none: bool, merge: bool) -> Document:
    document = dict(old)
    for name, value in patch.items():
        if value is None and not keep_none:
            document.pop(name, None)
        elif isinstance(value, dict):
            before = document.get(name) if merge else None
            base = before if isinstance(before, dict) else {}
            document[name] = _merged(base, value, keep_none=keep_none, merge=merge)
        else:
            document[name] = value
    return document


def _check_end(document: Document, name: str) -> None:
    end = document.get(name)
    if not isinstance(end, str) or not _HANDLE.fullmatch(end):
        raise InvalidEdge(f"{name} of an edge has to be a document id", details={"field": name})


def check_revision(document: Document, expected: str | None) -> None:
    """Refuse where the document has another revision than the expected one."""
    if expected is not None and document["_rev"] != expected:
        raise RevisionMismatch(
            f"{document['_id']} has another revision than the one expected",
            details={name: document[name] for name in ("_id", "_key", "_rev")},
        )


def refuse_large(size: int) -> None:
    """Refuse new versions that have more bytes together than one record of the trail may hold.

    Raises:
        ResultTooLarge
    """
    if size > MAX_EFFECT_BYTES:
        raise ResultTooLarge(
            f"new versions of more than {MAX_EFFECT_BYTES} bytes altogether do not fit one "
            "record of the trail; change fewer documents at a time"
        )


def refuse_deep(document: Document) -> None:
    """Refuse a version that is nested deeper than records and replies have room for.

    No command can bring one; a query that puts a document into itself makes it deeper every time.

    Raises:
        InvalidDocument
    """
    if is_deeper(document, MAX_DEPTH):
        raise InvalidDocument(f"the document would be nested deeper than {MAX_DEPTH} levels")


def refuse_deep_row(row: Any) -> None:
    """Refuse a row of a query that a reply would have no room for.

    Raises:
        ResourceLimit
    """
    if is_deeper(row, MAX_ROW_DEPTH):
        raise ResourceLimit(f"a row is nested deeper than {MAX_ROW_DEPTH} levels")


def without_bodies(result: Any) -> Any:
    """A result without the documents in it, which can be read again."""
    if isinstance(result, list):
        return [without_bodies(entry) for entry in result]
    if isinstance(result, dict):
        return {name: value for name, value in result.items() if name not in _BODIES}
    return result
