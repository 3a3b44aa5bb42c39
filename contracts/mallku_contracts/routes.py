"""Which way a collection is reached during a rollout, as flags say it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property

from mallku_contracts.globs import FirstMatch, glob_pattern


class Route(StrEnum):
    """Which way a collection is reached during a rollout."""

    LEGACY = "legacy"
    """The former way alone."""
    SHADOW = "shadow"
    """The former way answers; reads are asked of the gateway too, and compared."""
    GATEWAY = "gateway"
    """The gateway alone."""


class Routing:
    """Routes of collections by names and globs.

    Args:
        collections: By its own line a collection's route, else by the first glob that matches.
        default: The route of those that no line names.
    """

    def __init__(self, collections: Mapping[str, str], default: str) -> None:
        self._collections = collections
        self.default = Route(default)

    def route(self, collection: str) -> Route:
        """How a collection is reached."""
        found = self._collections.get(collection) or self._globs.find(collection)
        return self.default if found is None else Route(found)

    @cached_property
    def _globs(self) -> FirstMatch[str]:
        globs = [each for each in self._collections.items() if "*" in each[0]]
        return FirstMatch([(glob_pattern(glob), route) for glob, route in globs])
