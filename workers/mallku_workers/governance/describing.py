"""What callers may ask about what governs them (operation `describe-flags`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mallku_contracts.flags import Flags
from mallku_contracts.results import FlagsInfo
from mallku_contracts.routes import Route
from mallku_workers.request import Request

NOTHING_SAID: Final = FlagsInfo(version=0, collections={}, default=str(Route.GATEWAY), flags={})
"""Before the first document of flags."""


async def describe_flags(flags: Callable[[], Flags | None], _request: Request) -> FlagsInfo:
    """The flags in force on this worker, routes in the order in which they count."""
    found = flags()
    if found is None:
        return NOTHING_SAID
    return FlagsInfo(
        version=found.version,
        collections={name: str(route) for name, route in found.collections.items()},
        default=str(found.default),
        flags=dict(found.flags),
    )
