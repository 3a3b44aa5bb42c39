"""Whether a target collection holds what the source does: by count, digest and document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from mallku_contracts.arguments import Document
from mallku_workers.stores.copying.documents import batches, digest, pages
from mallku_workers.stores.copying.sides import Side

DIGEST_BITS: Final = 256
"""Digests are summed modulo 2 to this power."""

Difference = Literal["missing", "differs", "only in the target"]


@dataclass(slots=True)
class Verified:
    """What a comparison of one collection found.

    Attributes:
        documents: In the source.
        found: In the target.
        source_digest, target_digest: Sums over all documents of the source, and over those of the
            target that have the same keys.
        key: The first document that is not the same on both sides, and `difference` why.
    """

    collection: str
    documents: int = 0
    found: int = 0
    source_digest: int = 0
    target_digest: int = 0
    key: str | None = None
    difference: Difference | None = None

    @property
    def same(self) -> bool:
        """Whether there is nothing to complain about."""
        return self.key is None and self.source_digest == self.target_digest

    def differs(self, key: str, difference: Difference) -> None:
        """Note the first difference."""
        if self.key is None:
            self.key, self.difference = key, difference


async def verify(
    source: Side,
    target: Side,
    collection: str,
    *,
    others_allowed: bool,
    advance: Callable[[int], None],
) -> Verified:
    """Compare a collection of both sides, in bounded memory.

    Args:
        others_allowed: The target may hold documents that the source does not.
        advance: Told how many documents were compared.
    """
    found = Verified(collection)
    async for page in pages(source, collection):
        for batch in batches(page):
            await _compare(found, batch, target)
            advance(len(batch))
    found.found = await target.ask("count", collection)
    if not others_allowed and found.key is None and found.found != found.documents:
        await _find_other(found, source, target)
    return found


async def _compare(found: Verified, batch: list[Document], target: Side) -> None:
    there = {document["_key"]: document for document in await _get(target, found.collection, batch)}
    for document in batch:
        key, own = document["_key"], digest(document)
        found.documents += 1
        found.source_digest = (found.source_digest + own) % 2**DIGEST_BITS
        copied = there.get(key)
        if copied is None:
            found.differs(key, "missing")
            continue
        other = digest(copied)
        found.target_digest = (found.target_digest + other) % 2**DIGEST_BITS
        if other != own:
            found.differs(key, "differs")


async def _get(side: Side, collection: str, batch: list[Document]) -> list[Document]:
    """The documents with these keys; one alone may be larger than a result of several."""
    keys = [document["_key"] for document in batch]
    if len(keys) > 1:
        several: list[Document] = await side.ask("get-many", collection, documents=keys)
        return several
    one = await side.ask("get", collection, document=keys[0])
    return [] if one is None else [one]


async def _find_other(found: Verified, source: Side, target: Side) -> None:
    """The first document that only the target has."""
    async for page in pages(target, found.collection):
        for batch in batches(page):
            known = {one["_key"] for one in await _get(source, found.collection, batch)}
            for document in batch:
                if document["_key"] not in known:
                    found.differs(document["_key"], "only in the target")
                    return
