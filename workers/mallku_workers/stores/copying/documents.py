"""Documents between the stores: pages by key, batches by bytes, and what makes two the same."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Final

from mallku_contracts.arguments import Document
from mallku_contracts.limits import MIB
from mallku_workers.stores.copying.sides import Side

PAGE_DOCUMENTS: Final = 1_000
"""Documents that are read at once."""

BATCH_DOCUMENTS: Final = 1_000
"""Documents that are written, or compared, at once."""

BATCH_BYTES: Final = MIB
"""The same as JSON text, bytes; a larger document goes alone."""

_STORES_OWN: Final = frozenset({"_id", "_rev"})
_INT64: Final = range(-(2**63), 2**64)
# Numbers that the stores may spell differently: 1.0, 1e3, -0.0, and those with many digits.
_MANY_SPELLINGS: Final = re.compile(r"\d(?:\.0|[eE])|\d{16}")


async def pages(side: Side, collection: str, after: str = "") -> AsyncIterator[list[Document]]:
    """All documents behind a key, in the order of keys, a bounded number at a time."""
    more, start = True, after or None
    while more:
        page = await side.ask("find", collection, after=start, batch_size=PAGE_DOCUMENTS)
        if page["documents"]:
            yield page["documents"]
        more, start = page["more"], page["after"]


def batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """The same documents, cut so that one request or commit can hold each part."""
    batch: list[Document] = []
    size = 0
    for document in documents:
        own = len(json.dumps(document, ensure_ascii=False))
        if batch and (len(batch) >= BATCH_DOCUMENTS or size + own > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(document)
        size += own
    if batch:
        yield batch


def body(document: Document) -> Document:
    """What is written into another store: without what that one sets itself."""
    return {name: value for name, value in document.items() if name not in _STORES_OWN}


def digest(document: Document) -> int:
    """SHA-256 of the canonical JSON of a document, without `_id` and `_rev`, as a number.

    Sums of them tell whether two sets of documents are equal, in whatever order they come.
    """
    text = _canonical(body(document))
    if _MANY_SPELLINGS.search(text):
        text = _canonical(_one_spelling(json.loads(text)))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())


def _canonical(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _one_spelling(value: Any) -> Any:
    """Numbers as whole ones where they are, and as doubles where no store keeps all digits."""
    if isinstance(value, dict):
        return {name: _one_spelling(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_one_spelling(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT64:
        return _as_double(value)
    return value


def _as_double(value: int) -> int:
    try:
        return int(float(value))
    except OverflowError:
        return value
