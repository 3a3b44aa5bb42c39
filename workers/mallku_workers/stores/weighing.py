"""How large one result may become: weighed while it is made, refused before the commit.

Whoever is told that an answer does not fit is told that nothing was done.
"""

from __future__ import annotations

from typing import Any, Final

from mallku_contracts.arguments import Document
from mallku_contracts.codec import pack_trusted
from mallku_contracts.errors import ResultTooLarge
from mallku_contracts.limits import KIB, MAX_REPLY_BYTES
from mallku_workers.stores.documents import to_text

MAX_ANSWER_BYTES: Final = MAX_REPLY_BYTES - 32 * KIB
"""The packed result of a mutation, bytes; the rest of a reply is receipt, signature and token."""


def size_of(value: Any) -> int:
    """The size of a value as JSON text, bytes."""
    return len(to_text(value).encode(errors="replace"))


class Shown:
    """The documents that one result shows, old versions and new ones.

    Args:
        most: Bytes of JSON text that they may have together; a single one may always be shown.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0
        self._documents = 0

    def add(self, document: Document) -> None:
        """One more; errors as of `add_bytes`."""
        self.add_bytes(size_of(document))

    def add_bytes(self, size: int) -> None:
        """One more of this size.

        Raises:
            ResultTooLarge: they are too large together.
        """
        self._bytes += size
        self._documents += 1
        if self._documents > 1 and self._bytes > self._most:
            raise ResultTooLarge(
                f"the documents to be answered with have more than {self._most} bytes; ask for"
                " fewer at a time, or without return_new and return_old; nothing was done"
            )


def pack_answer(result: Any) -> bytes:
    """The result of a mutation that is about to be committed, packed.

    Raises:
        ResultTooLarge: no reply would hold it.
    """
    packed = pack_trusted(result)
    if len(packed) > MAX_ANSWER_BYTES:
        raise ResultTooLarge(
            f"the result would have {len(packed)} bytes and not fit a reply; ask for less at a"
            " time, or for silence; nothing was done"
        )
    return packed
