"""One message of the trail as it is stored, wherever it was read from."""

from __future__ import annotations

from typing import NamedTuple


class TrailEntry(NamedTuple):
    """One stored message: a record of the audit stream, or a checkpoint.

    `sequence` and `time` (Unix milliseconds) are the stream's own; `data` is what was published, to
    the byte, so that its hash can be taken.
    """

    sequence: int
    subject: str
    time: int
    data: bytes
