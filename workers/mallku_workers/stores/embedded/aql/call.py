"""What an operator or a function may use besides its arguments: warnings, the time, limits."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from mallku_contracts.errors import ResourceLimit
from mallku_contracts.limits import MIB
from mallku_workers.stores.embedded.aql import warnings as w
from mallku_workers.stores.embedded.aql.values import to_string

MAX_TEXT_CHARS: Final = 4 * MIB
"""A string that a function makes, characters."""

MAX_ITEMS: Final = 1_000_000
"""A list that a function or a range makes, items."""


def _go_on() -> None:
    """Nobody waits."""


@dataclass(slots=True)
class Call:
    """The surroundings of a query's calls; the same for all calls of one run.

    Attributes:
        now_ms: The time that DATE_NOW tells, milliseconds since 1970; it stands still in a query.
        check: Called now and then by what may take long; raises when it is time to stop.
        rng: Where RAND, RANDOM_TOKEN and UUID get their bits.
        database: What CURRENT_DATABASE says.
        user: What CURRENT_USER says.
        constant: The arguments are constants: doubles are printed as ArangoDB 3.2 prints those.
    """

    now_ms: int = 0
    warnings: w.Warnings = field(default_factory=w.Warnings)
    check: Callable[[], None] = _go_on
    rng: random.Random = field(default_factory=random.SystemRandom)
    database: str = "_system"
    user: str | None = None
    max_text: int = MAX_TEXT_CHARS
    max_items: int = MAX_ITEMS
    constant: bool = False

    def warn(self, code: int, message: str) -> None:
        """Note a warning."""
        self.warnings.add(code, message)

    def wrong_type(self, name: str) -> Any:
        """Warn that an argument of the function is of a wrong type; null, for it to give."""
        self.warn(w.ARGUMENT_TYPE, f"invalid argument type in call to function {name}()")

    def no_array(self, name: str) -> Any:
        """Warn that the function wanted an array; null, for it to give."""
        self.warn(w.ARRAY_EXPECTED, f"in function {name}(): array expected")

    def text(self, value: Any) -> str:
        """The value as a string."""
        if type(value) is str:
            return value
        return to_string(value, javascript=self.constant)

    def fit_text(self, length: int) -> None:
        """Refuse to make a longer string than is allowed.

        Raises:
            ResourceLimit: ArangoDB's error 32.
        """
        if length > self.max_text:
            raise ResourceLimit(f"a string of more than {self.max_text} characters")

    def fit_items(self, count: int) -> None:
        """Refuse to make a longer list than is allowed.

        Raises:
            ResourceLimit: ArangoDB's error 32.
        """
        if count > self.max_items:
            raise ResourceLimit(f"a list of more than {self.max_items} items")
