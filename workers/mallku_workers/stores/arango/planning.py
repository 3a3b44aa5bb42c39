"""What a write does to one document, decided here from the version that was read.

Pure: the version is read before and written after within one transaction, under the revision that
was read. The decisions, their order and their errors are those of the embedded store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mallku_contracts import arguments as a
from mallku_contracts.arguments import Document, Reference
from mallku_contracts.errors import (
    DocumentNotFound,
    InvalidDocument,
    UniqueViolation,
)
from mallku_contracts.policy import DocumentRules
from mallku_workers.stores.arango.collection import Collection
from mallku_workers.stores.documents import (
    SYSTEM,
    check_revision,
    locate,
    own_key,
    patched,
    refuse_deep,
    refuse_large,
    to_text,
    whole,
)
from mallku_workers.stores.rules import new_version, refuse_change, refuse_more, sees

_LEAST_PATCH: Final = 2
_UNKNOWN_KEY: Final = "00000000000000000000"
_UNKNOWN_REV: Final = "_----------"

Find = Callable[[str], Document | None]
"""The version of a document that was read, by key."""

InsertOptions = a.Insert | a.InsertMany
ReplaceOptions = a.Replace | a.ReplaceMany
UpdateOptions = a.Update | a.UpdateMany
DeleteOptions = a.Delete | a.DeleteMany


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one document.

    Attributes:
        old: The version that was read, None where there was none.
        new: What takes its place: None removes it, `old` itself leaves it alone.
    """

    old: Document | None
    new: Document | None

    @property
    def is_nothing(self) -> bool:
        """Whether the document stays as it is."""
        return self.new is self.old

    @property
    def body(self) -> Document:
        """What is sent: without what the database sets, under the revision that was read."""
        new = self.new or {}
        body = {name: value for name, value in new.items() if name not in ("_id", "_rev")}
        if body.get("_key") == _UNKNOWN_KEY:
            del body["_key"]
        if self.old is not None:
            body["_rev"] = self.old["_rev"]
        return body


NOTHING: Final = Change(None, None)
"""There was nothing, and there will be nothing."""


class Planner:
    """Plans the changes of one work.

    Args:
        find: The documents that were read.
    """

    def __init__(
        self,
        collection: Collection,
        rules: DocumentRules | None,
        find: Find,
        max_document_bytes: int,
    ) -> None:
        self._collection = collection
        self._rules = rules
        self._find = find
        self._max_document_bytes = max_document_bytes
        self._changes = 0
        self._bytes = 0

    def insert(self, body: Document, options: InsertOptions) -> Change:
        """Insert `body`, or do what the overwrite mode says where its key is taken."""
        key = own_key(self._collection, body)
        old = None if key is None else self._find(key)
        if old is None:
            return self._put(None, whole(self._collection, key or _UNKNOWN_KEY, _UNKNOWN_REV, body))
        mode = options.overwrite_mode or ("replace" if options.overwrite else "conflict")
        if mode == "conflict" or not sees(self._rules, old):
            raise taken(old)
        if mode == "ignore":
            return Change(old, old)
        if mode == "replace":
            return self._put(old, whole(self._collection, old["_key"], _UNKNOWN_REV, body))
        return self._put(old, self._patched(old, body, options))

    def update(self, patch: Document, options: UpdateOptions) -> Change:
        """Merge `patch` into the document that it names; an empty patch changes nothing."""
        old = self._target(patch, None, check_rev=options.check_rev)
        if len(patch) < _LEAST_PATCH:
            return Change(old, old)
        return self._put(old, self._patched(old, patch, options))

    def replace(self, body: Document, options: ReplaceOptions) -> Change:
        """Replace the document that `body` names."""
        old = self._target(body, None, check_rev=options.check_rev)
        return self._put(old, whole(self._collection, old["_key"], _UNKNOWN_REV, body))

    def delete(
        self, reference: Reference, options: DeleteOptions, rev: str | None = None
    ) -> Change:
        """Remove the document that `reference` names."""
        try:
            old = self._target(reference, rev, check_rev=options.check_rev)
        except DocumentNotFound:
            if isinstance(options, a.Delete) and options.ignore_missing:
                return NOTHING
            raise
        return self.remove(old)

    def remove(self, old: Document) -> Change:
        """Remove a document that was found."""
        if self._rules is not None:
            refuse_change(self._rules)
        self._count()
        return Change(old, None)

    def change(self, old: Document, patch: Document, options: a.UpdateMatch | a.Upsert) -> Change:
        """Change a document that was found."""
        if SYSTEM.issuperset(patch):
            return Change(old, old)
        return self._put(old, self._patched(old, patch, options))

    def replace_found(self, old: Document, body: Document) -> Change:
        """Put `body` in the place of a document that was found."""
        return self._put(old, whole(self._collection, old["_key"], _UNKNOWN_REV, body))

    def _patched(
        self,
        old: Document,
        patch: Document,
        options: InsertOptions | UpdateOptions | a.UpdateMatch | a.Upsert,
    ) -> Document:
        return patched(
            self._collection, old, patch, keep_none=options.keep_none, merge=options.merge
        )

    def _target(self, reference: Reference, rev: str | None, *, check_rev: bool) -> Document:
        key, own_rev = locate(self._collection, reference)
        old = self._find(key)
        if old is None or not sees(self._rules, old):
            raise DocumentNotFound(f"there is no document {self._collection.name}/{key:.254}")
        if check_rev:
            check_revision(old, rev or own_rev)
        return old

    def _put(self, old: Document | None, new: Document) -> Change:
        if self._rules is not None:
            new = new_version(self._rules, old, new)
        self._count()
        self._weigh(new)
        return Change(old, new)

    def _count(self) -> None:
        refuse_more(self._rules, self._changes + 1)
        self._changes += 1

    def _weigh(self, new: Document) -> None:
        size = document_bytes(new, self._max_document_bytes)
        refuse_large(self._bytes + size)
        self._bytes += size


def document_bytes(document: Document, most: int) -> int:
    """The size of a document as JSON, bytes; errors as of `text_bytes` and `refuse_deep`."""
    size = text_bytes(to_text(document), most)
    refuse_deep(document)
    return size


def text_bytes(text: str, most: int) -> int:
    """The size of a document whose JSON is given, bytes.

    Raises:
        InvalidDocument: it cannot be stored, or has more than `most`.
    """
    size = len(_encoded(text))
    if size > most:
        raise InvalidDocument(f"the document has {size} bytes, more than the {most} allowed")
    return size


def json_bytes(value: Any) -> bytes:
    """JSON as it is sent; `InvalidDocument` where the value cannot be stored."""
    return _encoded(to_text(value))


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidDocument("the document has a string that is not Unicode") from None


def taken(old: Document) -> UniqueViolation:
    """The error for a key that is taken by `old`."""
    return UniqueViolation(
        f"a document with this key exists already: {old['_id']}", details={"_key": old["_key"]}
    )
