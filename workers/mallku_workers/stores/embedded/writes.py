"""Writing one document: insert, update, replace, delete.

Each function takes the transaction, the collection and the validated arguments, and returns the
operation's result; what it raises, it raises before it wrote anything.
"""

from __future__ import annotations

from typing import Final

from mallku_contracts import arguments as a
from mallku_contracts.arguments import Document, Reference
from mallku_contracts.errors import DocumentNotFound, UniqueViolation
from mallku_contracts.results import DocumentMeta, WriteResult
from mallku_workers.stores.documents import (
    check_revision,
    locate,
    own_key,
    patched,
    whole,
)
from mallku_workers.stores.embedded.catalog import Collection
from mallku_workers.stores.embedded.session import Session

_LEAST_PATCH: Final = 2

InsertOptions = a.Insert | a.InsertMany
ReplaceOptions = a.Replace | a.ReplaceMany
UpdateOptions = a.Update | a.UpdateMany
DeleteOptions = a.Delete | a.DeleteMany


def insert(session: Session, collection: Collection, arguments: a.Insert) -> WriteResult:
    """A new document, or what `overwrite_mode` says where its key is taken."""
    return insert_one(session, collection, arguments.document, arguments)


def insert_one(
    session: Session, collection: Collection, body: Document, options: InsertOptions
) -> WriteResult:
    """Insert `body`."""
    key = own_key(collection, body)
    old = None if key is None else session.get(collection, key)
    if old is not None:
        if not session.sees(old):
            raise _taken(old)
        return _insert_again(session, collection, old, body, options)
    shows = options.return_new and not options.silent
    return _answer(_store_new(session, collection, key, body, shows=shows), None, options)


def insert_new(session: Session, collection: Collection, body: Document) -> Document:
    """Insert `body`; `UniqueViolation` where its key is taken."""
    key = own_key(collection, body)
    old = None if key is None else session.get(collection, key)
    if old is not None:
        raise _taken(old)
    return _store_new(session, collection, key, body)


def _store_new(
    session: Session,
    collection: Collection,
    key: str | None,
    body: Document,
    *,
    shows: bool = False,
) -> Document:
    if key is None:
        key = session.new_key(collection)
    else:
        session.note_own_key(collection, key)
    new = whole(collection, key, session.next_revision(), body)
    return session.put(collection, None, new, shows=shows)


def _taken(old: Document) -> UniqueViolation:
    return UniqueViolation(
        f"a document with this key exists already: {old['_id']}", details={"_key": old["_key"]}
    )


def _insert_again(
    session: Session, collection: Collection, old: Document, body: Document, options: InsertOptions
) -> WriteResult:
    mode = options.overwrite_mode or ("replace" if options.overwrite else "conflict")
    if mode == "ignore":
        return True if options.silent else _meta(old)
    if mode == "conflict":
        raise _taken(old)
    if mode == "replace":
        new = whole(collection, old["_key"], session.next_revision(), body)
    else:
        new = patched(collection, old, body, keep_none=options.keep_none, merge=options.merge)
        new["_rev"] = session.next_revision()
    return _put(session, collection, old, new, options)


def update(session: Session, collection: Collection, arguments: a.Update) -> WriteResult:
    """Change the attributes that the patch names."""
    return update_one(session, collection, arguments.document, arguments)


def update_one(
    session: Session, collection: Collection, patch: Document, options: UpdateOptions
) -> WriteResult:
    """Merge `patch` into the document that it names; an empty patch changes no revision."""
    old = _target(session, collection, patch, None, check_rev=options.check_rev)
    if len(patch) < _LEAST_PATCH:
        _weigh_old(session, old, options)
        if options.return_new and not options.silent:
            session.shown.add(old)
        return _answer(old, old, options)
    new = patched(collection, old, patch, keep_none=options.keep_none, merge=options.merge)
    new["_rev"] = session.next_revision()
    return _put(session, collection, old, new, options)


def replace(session: Session, collection: Collection, arguments: a.Replace) -> WriteResult:
    """Put a document in the place of the one with its key."""
    return replace_one(session, collection, arguments.document, arguments)


def replace_one(
    session: Session, collection: Collection, body: Document, options: ReplaceOptions
) -> WriteResult:
    """Replace the document that `body` names."""
    old = _target(session, collection, body, None, check_rev=options.check_rev)
    new = whole(collection, old["_key"], session.next_revision(), body)
    return _put(session, collection, old, new, options)


def delete(session: Session, collection: Collection, arguments: a.Delete) -> WriteResult:
    """Remove a document; False where it is missing and that was to be ignored."""
    try:
        return delete_one(session, collection, arguments.document, arguments, arguments.rev)
    except DocumentNotFound:
        if arguments.ignore_missing:
            return False
        raise


def delete_one(
    session: Session,
    collection: Collection,
    reference: Reference,
    options: DeleteOptions,
    rev: str | None = None,
) -> WriteResult:
    """Remove the document that `reference` names."""
    old = _target(session, collection, reference, rev, check_rev=options.check_rev)
    _weigh_old(session, old, options)
    session.remove(collection, old)
    if options.silent:
        return True
    meta = _meta(old)
    if options.return_old:
        meta["old"] = dict(old)
    return meta


def _target(
    session: Session,
    collection: Collection,
    reference: Reference,
    rev: str | None,
    *,
    check_rev: bool,
) -> Document:
    key, own_rev = locate(collection, reference)
    old = session.get(collection, key)
    if old is None or not session.sees(old):
        raise DocumentNotFound(f"there is no document {collection.prefix}{key:.254}")
    if check_rev:
        check_revision(old, rev or own_rev)
    return old


def _put(
    session: Session,
    collection: Collection,
    old: Document,
    new: Document,
    options: InsertOptions | ReplaceOptions | UpdateOptions,
) -> WriteResult:
    """Store `new` where `old` was, unless the answer would be too large with both."""
    _weigh_old(session, old, options)
    shows = options.return_new and not options.silent
    return _answer(session.put(collection, old, new, shows=shows), old, options)


def _weigh_old(
    session: Session,
    old: Document,
    options: InsertOptions | ReplaceOptions | UpdateOptions | DeleteOptions,
) -> None:
    if options.return_old and not options.silent:
        session.shown.add(old)


def _meta(document: Document) -> DocumentMeta:
    return {"_id": document["_id"], "_key": document["_key"], "_rev": document["_rev"]}


def _answer(
    new: Document, old: Document | None, options: InsertOptions | ReplaceOptions | UpdateOptions
) -> WriteResult:
    if options.silent:
        return True
    meta = _meta(new)
    if old is not None:
        meta["_old_rev"] = old["_rev"]
    if options.return_new:
        meta["new"] = dict(new)
    if options.return_old and old is not None:
        meta["old"] = dict(old)
    return meta
