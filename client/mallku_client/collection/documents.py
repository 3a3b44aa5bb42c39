"""Operations on one document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Unpack

from mallku_client.arguments import asked, given
from mallku_client.collection.base import CollectionOperations
from mallku_client.options import CallOptions

if TYPE_CHECKING:  # brings pydantic, which a client has no other use for
    from mallku_contracts.arguments import Document, Filters, Reference
    from mallku_contracts.results import UpsertResult, WriteResult

OverwriteMode = Literal["ignore", "replace", "update", "conflict"]
"""What an insert does where the key is taken."""


class DocumentOperations(CollectionOperations):
    """`insert`, `get`, `has`, `update`, `replace`, `upsert`, `delete`."""

    async def insert(
        self,
        document: Document,
        return_new: bool = False,
        *,
        silent: bool = False,
        overwrite: bool = False,
        return_old: bool = False,
        overwrite_mode: OverwriteMode | None = None,
        keep_none: bool | None = None,
        merge: bool | None = None,
        **options: Unpack[CallOptions],
    ) -> WriteResult:
        """Put in a new document and return `{"_id", "_key", "_rev"}`; the key may be given.

        Raises:
            UniqueViolation: the key or a unique value is taken, and nothing was to be overwritten.
        """
        arguments = given(
            document=document, overwrite_mode=overwrite_mode, keep_none=keep_none, merge=merge
        ) | asked(return_new=return_new, silent=silent, overwrite=overwrite, return_old=return_old)
        meta: WriteResult = await self._do("insert", arguments, options)
        return meta

    async def get(
        self,
        document: Reference,
        rev: str | None = None,
        check_rev: bool | None = None,
        **options: Unpack[CallOptions],
    ) -> Document | None:
        """The document with this key or id, or None when there is none.

        Raises:
            RevisionMismatch: it has another revision than `rev`.
        """
        arguments = given(document=document, rev=rev, check_rev=check_rev)
        found: Document | None = await self._do("get", arguments, options)
        return found

    async def has(
        self,
        document: Reference,
        rev: str | None = None,
        check_rev: bool | None = None,
        **options: Unpack[CallOptions],
    ) -> bool:
        """Whether a document with this key or id is there (operation `exists`)."""
        arguments = given(document=document, rev=rev, check_rev=check_rev)
        found: bool = await self._do("exists", arguments, options)
        return found

    async def update(  # noqa: PLR0917  # python-arango's order
        self,
        document: Document,
        check_rev: bool | None = None,
        merge: bool | None = None,
        keep_none: bool | None = None,
        return_new: bool = False,
        return_old: bool = False,
        *,
        silent: bool = False,
        **options: Unpack[CallOptions],
    ) -> WriteResult:
        """Change the given attributes of the document that `_key` or `_id` names.

        Raises:
            DocumentNotFound: it is not there.
            RevisionMismatch: it has another `_rev` than the one given.
        """
        arguments = given(
            document=document, check_rev=check_rev, merge=merge, keep_none=keep_none
        ) | asked(return_new=return_new, return_old=return_old, silent=silent)
        meta: WriteResult = await self._do("update", arguments, options)
        return meta

    async def replace(
        self,
        document: Document,
        check_rev: bool | None = None,
        return_new: bool = False,
        return_old: bool = False,
        *,
        silent: bool = False,
        **options: Unpack[CallOptions],
    ) -> WriteResult:
        """Put this document in the place of the one that `_key` or `_id` names.

        Raises:
            DocumentNotFound, RevisionMismatch: as `update`.
        """
        arguments = given(document=document, check_rev=check_rev) | asked(
            return_new=return_new, return_old=return_old, silent=silent
        )
        meta: WriteResult = await self._do("replace", arguments, options)
        return meta

    async def upsert(
        self,
        filters: Filters,
        insert: Document,
        *,
        update: Document | None = None,
        replace: Document | None = None,
        return_new: bool = False,
        return_old: bool = False,
        keep_none: bool | None = None,
        merge: bool | None = None,
        **options: Unpack[CallOptions],
    ) -> UpsertResult:
        """Put in `insert` unless a document equals `filters`; else change that one.

        Exactly one of `update` and `replace` is given; `type` in the result says what was done.
        """
        arguments = given(
            filters=filters,
            insert=insert,
            update=update,
            replace=replace,
            keep_none=keep_none,
            merge=merge,
        ) | asked(return_new=return_new, return_old=return_old)
        meta: UpsertResult = await self._do("upsert", arguments, options)
        return meta

    async def delete(
        self,
        document: Reference,
        rev: str | None = None,
        check_rev: bool | None = None,
        ignore_missing: bool = False,
        return_old: bool = False,
        *,
        silent: bool = False,
        **options: Unpack[CallOptions],
    ) -> WriteResult:
        """Remove a document; False when it was missing and that was to be ignored.

        Raises:
            DocumentNotFound, RevisionMismatch: as `update`.
        """
        arguments = given(document=document, rev=rev, check_rev=check_rev) | asked(
            ignore_missing=ignore_missing, return_old=return_old, silent=silent
        )
        meta: WriteResult = await self._do("delete", arguments, options)
        return meta
