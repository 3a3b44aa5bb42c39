"""Operations on the indexes of a collection, and on what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from mallku_client.arguments import asked, given
from mallku_client.collection.base import CollectionOperations
from mallku_client.options import CallOptions

if TYPE_CHECKING:  # brings pydantic, which a client has no other use for
    from mallku_contracts.results import CollectionDescription, IndexInfo


class IndexOperations(CollectionOperations):
    """`indexes`, `add_index`, `add_persistent_index`, `delete_index`, `describe`."""

    async def indexes(self, **options: Unpack[CallOptions]) -> list[IndexInfo]:
        """All indexes of the collection."""
        infos: list[IndexInfo] = await self._do("list-indexes", {}, options)
        return infos

    async def add_index(self, data: Mapping[str, Any], **options: Unpack[CallOptions]) -> IndexInfo:
        """Make the index that `data` describes: its `type`, its `fields`, and so on."""
        info: IndexInfo = await self._do("create-index", dict(data), options)
        return info

    async def add_persistent_index(
        self,
        fields: Sequence[str],
        unique: bool | None = None,
        sparse: bool | None = None,
        name: str | None = None,
        **options: Unpack[CallOptions],
    ) -> IndexInfo:
        """Make an index over `fields`; asking again for the same one is no error.

        Raises:
            InvalidIndex: it cannot be made.
            UniqueViolation: documents that are there already break it.
        """
        data = given(fields=list(fields), unique=unique, sparse=sparse, name=name)
        return await self.add_index({"type": "persistent", **data}, **options)

    async def delete_index(
        self, index_id: str, ignore_missing: bool = False, **options: Unpack[CallOptions]
    ) -> bool:
        """Remove an index by its id (`collection/number`) or name; False when it was missing."""
        arguments = given(index=index_id) | asked(ignore_missing=ignore_missing)
        removed: bool = await self._do("drop-index", arguments, options)
        return removed

    async def describe(self, **options: Unpack[CallOptions]) -> CollectionDescription:
        """What the collection is: name, type, number of documents and of indexes."""
        description: CollectionDescription = await self._do("describe-collection", {}, options)
        return description
