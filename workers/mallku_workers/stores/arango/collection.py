"""A collection as the ArangoDB store knows it: its name, and whether it holds edges."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection; whether it holds edges matters only to who makes whole documents for it."""

    name: str
    edge: bool = False
