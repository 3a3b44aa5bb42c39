"""A collection as the ArangoDB store knows it: its name, and whether it holds edges."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection; whether it holds edges matters only to who makes whole documents for it."""

    name: str
    edge: bool = False

    @property
    def prefix(self) -> str:
        """What ids of its documents begin with."""
        return f"{self.name}/"
