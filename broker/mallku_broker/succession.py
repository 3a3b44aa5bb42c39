"""Which of the documents in a bucket follows the one in force: pure, and suspicious.

The rules, in this order:

1. A document is signed by an administrator, over these bytes, and says that it is of this kind.
2. Its version is above the one in force; at the start, not below the highest on the trail.
3. Its body can be read, and says the same version where it says one.
4. Of several the highest follows. What is not a document, a deletion among them, changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from mallku_broker.buckets import Batch, Entry
from mallku_contracts.governed import Document, DocumentError, Kind, open_document
from mallku_contracts.keys import PublicKey

_T = TypeVar("_T")

MAX_JUDGED: Final = 256
"""Entries of a bucket that are not judged a second time when it is read again."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An entry that does not govern, and why."""

    revision: int
    reason: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that may follow, if its body can be read; `revision` is its entry's."""

    revision: int
    document: Document


@dataclass(frozen=True, slots=True)
class Verdict(Generic[_T]):
    """What became of a batch: the document that is in force from now on, and who is refused.

    Attributes:
        document: None when what was in force stays so.
        value: What the document says; None beside no document.
    """

    document: Document | None
    value: _T | None
    refusals: list[Refusal]


class Succession:
    """The documents of one kind that governed in turn, up to the one in force.

    Attributes:
        floor: The highest version on the trail when the worker started.
        current: The document in force; None before the first.
    """

    def __init__(self, kind: Kind, floor: int) -> None:
        self.kind = kind
        self.floor = floor
        self.current: Document | None = None
        self._judged: OrderedDict[tuple[int, bytes], None] = OrderedDict()

    async def consider(
        self,
        batch: Batch,
        administrators: Mapping[str, PublicKey],
        read: Callable[[Document], _T],
    ) -> Verdict[_T]:
        """Put the best document of a batch in force, if one of them may follow.

        Args:
            read: The body into a value; `DocumentError` when it cannot be. Runs in a thread.
        """
        candidates, refusals = self._sift(batch, administrators)
        while candidates:
            candidate = candidates.pop(0)
            try:
                value = await asyncio.to_thread(read, candidate.document)
            except DocumentError as error:
                refusals.append(Refusal(candidate.revision, str(error)))
                continue
            refusals = [each for each in refusals if each.revision > candidate.revision]
            return Verdict(
                candidate.document, value, refusals + self._follow(candidate, candidates)
            )
        return Verdict(None, None, refusals)

    def _sift(
        self, batch: Batch, administrators: Mapping[str, PublicKey]
    ) -> tuple[list[Candidate], list[Refusal]]:
        """Who may follow, the best first, and what may not, oldest first.

        The highest version is best; of two documents with one version the one that came first.
        """
        candidates: list[Candidate] = []
        refusals: list[Refusal] = []
        for entry in filter(self._is_news, batch):
            try:
                document = self._open(entry, administrators)
            except DocumentError as error:
                refusals.append(Refusal(entry.revision, str(error)))
            else:
                candidates.append(Candidate(entry.revision, document))
        candidates.sort(key=lambda each: (-each.document.version, each.revision))
        return candidates, refusals

    def _follow(self, chosen: Candidate, passed_over: Iterable[Candidate]) -> list[Refusal]:
        """Put one in force; the result refuses those that came later and are no higher."""
        self.current = chosen.document
        return [
            Refusal(each.revision, self._not_above(each.document))
            for each in passed_over
            if each.revision > chosen.revision
        ]

    def _is_news(self, entry: Entry) -> bool:
        """Whether this entry was never judged, and is not the document in force put back."""
        known = (entry.revision, hashlib.sha256(entry.value or b"").digest())
        if known in self._judged or (self.current and entry.value == self.current.data):
            return False
        self._judged[known] = None
        if len(self._judged) > MAX_JUDGED:
            self._judged.popitem(last=False)
        return True

    def _open(self, entry: Entry, administrators: Mapping[str, PublicKey]) -> Document:
        if entry.value is None:
            raise DocumentError("it was deleted; what is in force stays in force")
        document = open_document(entry.value, self.kind, administrators)
        if self.current is not None and document.version <= self.current.version:
            raise DocumentError(self._not_above(document))
        if document.version < self.floor:
            raise DocumentError(
                f"version {document.version} was rolled back: the trail has seen {self.floor}"
            )
        return document

    def _not_above(self, document: Document) -> str:
        at = self.current.version if self.current else 0
        return f"version {document.version} does not follow {at}: versions only go up"
