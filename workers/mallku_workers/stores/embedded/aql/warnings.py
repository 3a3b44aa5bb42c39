"""What a query does wrong without ending: a small set of ArangoDB's numbers with a sentence each.

Source: ArangoDB manual, "Error codes and meanings", AQL (1500 to 1599).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from mallku_contracts.errors import QueryFailed

NUMBER_OUT_OF_RANGE: Final = 1504
UNKNOWN_FUNCTION: Final = 1540
ARGUMENT_COUNT: Final = 1541
ARGUMENT_TYPE: Final = 1542
INVALID_REGEX: Final = 1543
INVALID_ARITHMETIC: Final = 1561
DIVISION_BY_ZERO: Final = 1562
ARRAY_EXPECTED: Final = 1563
COLLECTION_AS_VALUE: Final = 1577
FAIL_CALLED: Final = 1569
INVALID_DATE: Final = 1572
DYNAMIC_CALL: Final = 1576
FUNCTION_NOT_FOUND: Final = 1582
USER_WARNING: Final = 1588
USER_ASSERT: Final = 1589

MAX_WARNINGS: Final = 10
"""Different warnings that one query keeps, count (ArangoDB's `maxWarningCount`)."""

MAX_MESSAGE_CHARS: Final = 200
"""A warning's message, characters; a longer one is cut."""


@dataclass(slots=True)
class Warnings:
    """The different warnings of one query, in the order they came up.

    Attributes:
        fatal: A warning ends the query (`failOnWarning`).
    """

    fatal: bool = False
    limit: int = MAX_WARNINGS
    _kept: dict[tuple[int, str], None] = field(default_factory=dict)

    def add(self, code: int, message: str) -> None:
        """Keep a warning unless it is known, or there are too many.

        Raises:
            QueryFailed: Where warnings are fatal, under the warning's number.
        """
        if self.fatal:
            raise QueryFailed(message[:MAX_MESSAGE_CHARS], error_code=code)
        if len(self._kept) < self.limit:
            self._kept[code, message[:MAX_MESSAGE_CHARS]] = None

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def codes(self) -> set[int]:
        """The numbers alone."""
        return {code for code, _ in self._kept}
