"""What came of a rebuild, and what there is to remark."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mallku_workers.rebuilding.gathering import OPEN, UNREADABLE, UNRESOLVED
from mallku_workers.rebuilding.workfile import WorkFile

GAP: Final = "gap"
"""Remarks about documents that were changed in between, and no record says by whom."""

IMPLIED: Final = "implied"
"""Remarks about collections that were not made through the gateway."""

MISSING: Final = "missing"
"""Remarks about commits that could not be made again."""


@dataclass(slots=True)
class Rebuilt:
    """What came of it.

    Attributes:
        steps: Commits that were put into the target, in this run or before.
        missing: What could not be read, or not be made again, in words.
        lost: Documents whose last version is not on the trail, `collection/key`.
        gaps: Where the trail jumps from one version of a document to another.
        implied: Collections that no record makes.
        unresolved: Commands without outcome, which may have been carried out.
    """

    steps: int = 0
    missing: list[str] = field(default_factory=list[str])
    lost: list[str] = field(default_factory=list[str])
    gaps: list[str] = field(default_factory=list[str])
    implied: list[str] = field(default_factory=list[str])
    unresolved: list[str] = field(default_factory=list[str])

    @property
    def whole(self) -> bool:
        """Whether everything that the trail tells of is there."""
        return not self.missing and not self.lost


def tell(file: WorkFile) -> Rebuilt:
    """What a work file has to say once all of it was applied."""
    return Rebuilt(
        file.steps(),
        [*file.notes(UNREADABLE), *file.notes(OPEN), *file.notes(MISSING)],
        [f"{collection}/{key}" for collection, key in file.lost()],
        file.notes(GAP),
        list(dict.fromkeys(file.notes(IMPLIED))),
        file.notes(UNRESOLVED),
    )
