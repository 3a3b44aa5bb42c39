"""Which part of the trail is wanted, said in the words of the audit subjects."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mallku_broker.ranges import MAX_FILTERS
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.subjects import NO_COLLECTION, OUTCOMES, PREFIX, check_name

_ANY: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is read; the names are looked for by the server, an empty list of them means all.

    Attributes:
        principals: Who asked; `_gateway` for records about the gateway itself.
        databases, collections, operations: What was asked for; `@` where there is no collection.
        outcomes: Kinds of records: `intent`, `done`, `failed`, `denied`, `resolved`.
        first, last: Sequences in the stream, both included.
        since_ms, until_ms: When the stream stored it, Unix milliseconds, both included.
    """

    principals: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    first: int = 1
    last: int | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def __post_init__(self) -> None:
        if self.first < 1:
            raise ConfigurationError(f"first={self.first}: sequences begin at 1")
        for outcome in self.outcomes:
            if outcome not in OUTCOMES:
                raise ConfigurationError(
                    f"outcome: {outcome[:40]!r} is not one of {', '.join(OUTCOMES)}"
                )
        for what, names in (
            ("principal", self.principals),
            ("database", self.databases),
            ("collection", tuple(name for name in self.collections if name != NO_COLLECTION)),
            ("operation", self.operations),
        ):
            for name in names:
                check_name(name, what)

    def subjects(self) -> tuple[str, ...]:
        """The audit subjects to ask the server for; none when everything is wanted.

        Raises:
            ConfigurationError: there are more combinations than one reader asks for.
        """
        parts = tuple(self._parts())
        if not any(parts):
            return ()
        choices = [tuple(dict.fromkeys(names)) or (_ANY,) for names in parts]
        found = tuple(
            f"{PREFIX}.audit.{'.'.join(tokens)}"
            for tokens in itertools.islice(itertools.product(*choices), MAX_FILTERS + 1)
        )
        if len(found) > MAX_FILTERS:
            raise ConfigurationError(
                f"more than {MAX_FILTERS} combinations of principals, collections, operations and"
                " outcomes are selected; name fewer"
            )
        return found

    def _parts(self) -> Iterator[tuple[str, ...]]:
        yield self.principals
        yield self.databases
        yield self.collections
        yield self.operations
        yield self.outcomes
