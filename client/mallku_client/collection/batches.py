"""Operations on several documents, with a result or an error for each, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack, cast

from mallku_client.arguments import asked, given
from mallku_client.collection.base import CollectionOperations
from mallku_client.collection.documents import OverwriteMode
from mallku_client.options import CallOptions
from mallku_contracts.errors import MallkuError, from_wire

if TYPE_CHECKING:  # brings pydantic, which a client has no other use for
    from mallku_contracts.arguments import Document, Reference
    from mallku_contracts.results import DocumentMeta

    BatchEntry = DocumentMeta | MallkuError | bool


class BatchOperations(CollectionOperations):
    """`get_many`, `insert_many`, `update_many`, `replace_many`, `delete_many`.

    A batch is not all or none: an error of one document stands in the list where its result would,
    as an exception that is not raised. `raise_on_document_error=True` raises the first of them once
    the batch is done.
    """

    async def get_many(
        self, documents: Sequence[Reference], **options: Unpack[CallOptions]
    ) -> list[Document]:
        """The documents with these keys or ids; missing ones are left out."""
        found: list[Document] = await self._do("get-many", {"documents": list(documents)}, options)
        return found

    async def insert_many(
        self,
        documents: Sequence[Document],
        return_new: bool = False,
        *,
        silent: bool = False,
        overwrite: bool = False,
        return_old: bool = False,
        overwrite_mode: OverwriteMode | None = None,
        keep_none: bool | None = None,
        merge: bool | None = None,
        raise_on_document_error: bool = False,
        **options: Unpack[CallOptions],
    ) -> list[BatchEntry]:
        """Put in new documents; arguments as of `insert`."""
        arguments = given(
            documents=list(documents),
            overwrite_mode=overwrite_mode,
            keep_none=keep_none,
            merge=merge,
        ) | asked(return_new=return_new, silent=silent, overwrite=overwrite, return_old=return_old)
        entries = await self._do("insert-many", arguments, options)
        return read_entries(entries, raise_first=raise_on_document_error)

    async def update_many(  # noqa: PLR0917  # python-arango's order
        self,
        documents: Sequence[Document],
        check_rev: bool | None = None,
        merge: bool | None = None,
        keep_none: bool | None = None,
        return_new: bool = False,
        return_old: bool = False,
        *,
        silent: bool = False,
        raise_on_document_error: bool = False,
        **options: Unpack[CallOptions],
    ) -> list[BatchEntry]:
        """Change the given attributes of the documents that `_key` or `_id` name."""
        arguments = given(
            documents=list(documents), check_rev=check_rev, merge=merge, keep_none=keep_none
        ) | asked(return_new=return_new, return_old=return_old, silent=silent)
        entries = await self._do("update-many", arguments, options)
        return read_entries(entries, raise_first=raise_on_document_error)

    async def replace_many(
        self,
        documents: Sequence[Document],
        check_rev: bool | None = None,
        return_new: bool = False,
        return_old: bool = False,
        *,
        silent: bool = False,
        raise_on_document_error: bool = False,
        **options: Unpack[CallOptions],
    ) -> list[BatchEntry]:
        """Put these documents in the place of those that `_key` or `_id` name."""
        arguments = given(documents=list(documents), check_rev=check_rev) | asked(
            return_new=return_new, return_old=return_old, silent=silent
        )
        entries = await self._do("replace-many", arguments, options)
        return read_entries(entries, raise_first=raise_on_document_error)

    async def delete_many(
        self,
        documents: Sequence[Reference],
        return_old: bool = False,
        check_rev: bool | None = None,
        *,
        silent: bool = False,
        raise_on_document_error: bool = False,
        **options: Unpack[CallOptions],
    ) -> list[BatchEntry]:
        """Remove the documents with these keys or ids."""
        arguments = given(documents=list(documents), check_rev=check_rev) | asked(
            return_old=return_old, silent=silent
        )
        entries = await self._do("delete-many", arguments, options)
        return read_entries(entries, raise_first=raise_on_document_error)


def read_entries(entries: list[Any], *, raise_first: bool) -> list[BatchEntry]:
    """A batch's result with its errors as exceptions; the first is raised when asked for."""
    read = [_read(entry) for entry in entries]
    if raise_first:
        for entry in read:
            if isinstance(entry, MallkuError):
                raise entry
    return read


def _read(entry: Any) -> BatchEntry:
    wire = entry.get("error") if isinstance(entry, dict) else None
    return from_wire(wire) if isinstance(wire, dict) else cast("BatchEntry", entry)
