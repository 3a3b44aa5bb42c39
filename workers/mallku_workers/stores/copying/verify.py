"""Whether a target collection holds what the source does: by count, digest and document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from mallku_contracts.arguments import Document
from mallku_workers.stores.copying.documents import batches, digest, pages
from mallku_workers.stores.copying.sides import Side

DIGEST_BITS: Final = 256
"""Digests are summed modulo 2 to this power."""

MAX_DIFFERENCES: Final = 100
"""Documents of one collection that a comparison names; those beyond are counted."""

Difference = Literal["missing", "differs", "only in the target"]


@dataclass(slots=True)
class Verified:
    """What a comparison of one collection found.

    Attributes:
        documents: In the source.
        found: In the target.
        source_digest, target_digest: Sums over all documents of the source, and over those of the
            target that have the same keys.
        differences: Documents that are not the same on both sides, by key, and why; the first
            `MAX_DIFFERENCES` of `different`.
    """

    collection: str
    documents: int = 0
    found: int = 0
    source_digest: int = 0
    target_digest: int = 0
    different: int = 0
    differences: list[tuple[str, Difference]] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether there is nothing to complain about."""
        return not self.different and self.source_digest == self.target_digest

    @property
    def key(self) -> str | None:
        """The first document that is not the same on both sides."""
        return self.differences[0][0] if self.differences else None

    @property
    def difference(self) -> Difference | None:
        """What is wrong with it."""
        return self.differences[0][1] if self.differences else None

    def differs(self, key: str, difference: Difference) -> None:
        """Note a difference."""
        self.different += 1
        if len(self.differences) < MAX_DIFFERENCES:
            self.differences.append((key, difference))


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
    missing = sum(difference == "missing" for _, difference in found.differences)
    hidden = found.different > len(found.differences)
    if not others_allowed and (hidden or found.found != found.documents - missing):
        await _find_others(found, source, target)
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


async def _find_others(found: Verified, source: Side, target: Side) -> None:
    """The documents that only the target has."""
    async for page in pages(target, found.collection):
        for batch in batches(page):
            known = {one["_key"] for one in await _get(source, found.collection, batch)}
            for document in batch:
                if document["_key"] not in known:
                    found.differs(document["_key"], "only in the target")
