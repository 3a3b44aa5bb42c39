"""Violations that clients saw: their records on the trail are all that is to be done about them."""

from __future__ import annotations

from mallku_workers.request import Request


async def report_violation(_request: Request) -> bool:
    """Say that the report stands on the trail, where step 8 has put it."""
    return True
