"""What a bench asks of a gateway: inserts, gets, and a mix of both."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from mallku_client.collection import Collection
from mallku_client.database import SecuredDatabaseInterface
from mallku_client.settings import ClientSettings
from mallku_deploy.bench.measure import Call

DEFAULT_DOCUMENTS: Final = 1_000
"""Documents that are there to be read, documents."""

MIXED_EVERY: Final = 5
"""One call in this many inserts in a mixed load, calls; the others get."""

_BATCH: Final = 100
_WORD: Final = "ayni "
_FRAME_BYTES: Final = 143


class Calls:
    """Calls on one collection.

    Args:
        keys: Documents that are there to be read.
        size: Bytes of a document's JSON, about.
    """

    def __init__(self, collection: Collection, keys: Sequence[str], size: int) -> None:
        self._collection = collection
        self._keys = keys
        self._size = size

    async def insert(self, number: int) -> object:
        """Insert one document."""
        return await self._collection.insert(document(number, self._size))

    async def get(self, number: int) -> object:
        """Get one of the documents."""
        return await self._collection.get(self._keys[number % len(self._keys)])

    async def mixed(self, number: int) -> object:
        """Insert a document once in `MIXED_EVERY` calls, get one in the others."""
        return await (self.get(number) if number % MIXED_EVERY else self.insert(number))

    def of(self, operation: str) -> Call:
        """The call for `insert`, `get` or `mixed`."""
        return {"insert": self.insert, "get": self.get, "mixed": self.mixed}[operation]


@asynccontextmanager
async def open_calls(
    settings: ClientSettings, *, collection: str, size: int, documents: int = DEFAULT_DOCUMENTS
) -> AsyncGenerator[Calls]:
    """Connect a client, make the collection where it is missing, and put documents there to read.

    Raises:
        MallkuError: whatever the gateway refuses.
    """
    async with await SecuredDatabaseInterface.connect(settings=settings) as db:
        if not await db.has_collection(collection):
            await db.create_collection(collection)
        there = db.collection(collection)
        yield Calls(there, await _fill(there, documents, size), size)


async def _fill(collection: Collection, documents: int, size: int) -> list[str]:
    """Put documents there, a batch at a time; returns their keys."""
    keys: list[str] = []
    for start in range(0, documents, _BATCH):
        batch = [document(number, size) for number in range(start, min(start + _BATCH, documents))]
        made = await collection.insert_many(batch, raise_on_document_error=True)
        keys += [entry["_key"] for entry in made if isinstance(entry, dict)]
    return keys


def document(number: int, size: int) -> dict[str, Any]:
    """A small document as Mallku's services write them, its JSON about `size` bytes long."""
    return {
        "kind": "khipu",
        "anchor": f"memory_anchors/{number % 100}",
        "weight": number % 10,
        "created": "2025-01-01T00:00:00Z",
        "tags": ["memory", "fire-circle"],
        "text": _WORD * (max(size - _FRAME_BYTES, 0) // len(_WORD)),
    }
