"""Operations on whatever equals filters, and on all documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack

from mallku_client.arguments import given
from mallku_client.collection.base import CollectionOperations
from mallku_client.cursor import Cursor, PageRequest
from mallku_client.options import CallOptions

if TYPE_CHECKING:  # brings pydantic, which a client has no other use for
    from mallku_contracts.arguments import Document, Filters
    from mallku_contracts.results import Page


class MatchOperations(CollectionOperations):
    """`find`, `all`, `count`, `update_match`, `replace_match`, `delete_match`, `truncate`.

    Filters name attributes, with a dot between levels, and the values that they must equal.
    """

    def find(
        self,
        filters: Filters,
        skip: int | None = None,
        limit: int | None = None,
        *,
        sort: Sequence[dict[str, str]] | None = None,
        batch_size: int | None = None,
        **options: Unpack[CallOptions],
    ) -> Cursor:
        """A cursor over the documents that equal every filter; nothing is sent yet.

        Without `sort` they come in the order of their keys.

        Args:
            sort: Such as `[{"sort_by": "weight", "sort_order": "DESC"}]`.
            batch_size: Documents fetched at a time.
        """
        first = PageRequest(
            filters=filters or None,
            skip=skip,
            limit=limit,
            sort=None if sort is None else list(sort),
            batch_size=batch_size,
        )

        async def fetch(arguments: dict[str, Any]) -> Page:
            page: Page = await self._do("find", arguments, options)
            return page

        return Cursor(fetch, first)

    def all(
        self,
        skip: int | None = None,
        limit: int | None = None,
        *,
        batch_size: int | None = None,
        **options: Unpack[CallOptions],
    ) -> Cursor:
        """A cursor over all documents, in the order of their keys."""
        return self.find({}, skip, limit, batch_size=batch_size, **options)

    async def count(self, filters: Filters | None = None, **options: Unpack[CallOptions]) -> int:
        """How many documents there are, or how many equal every filter."""
        number: int = await self._do("count", given(filters=filters), options)
        return number

    async def update_match(
        self,
        filters: Filters,
        body: Document,
        limit: int | None = None,
        keep_none: bool | None = None,
        *,
        merge: bool | None = None,
        **options: Unpack[CallOptions],
    ) -> int:
        """Change the given attributes of every document that equals the filters; how many."""
        arguments = given(filters=filters, body=body, limit=limit, keep_none=keep_none, merge=merge)
        number: int = await self._do("update-match", arguments, options)
        return number

    async def replace_match(
        self,
        filters: Filters,
        body: Document,
        limit: int | None = None,
        **options: Unpack[CallOptions],
    ) -> int:
        """Put `body` in the place of every document that equals the filters; how many."""
        arguments = given(filters=filters, body=body, limit=limit)
        number: int = await self._do("replace-match", arguments, options)
        return number

    async def delete_match(
        self, filters: Filters, limit: int | None = None, **options: Unpack[CallOptions]
    ) -> int:
        """Remove every document that equals the filters; how many."""
        arguments = given(filters=filters, limit=limit)
        number: int = await self._do("delete-match", arguments, options)
        return number

    async def truncate(self, **options: Unpack[CallOptions]) -> int:
        """Remove every document; how many."""
        number: int = await self._do("truncate", {}, options)
        return number
