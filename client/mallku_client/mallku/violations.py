"""What was refused, counted and told: to whoever asks for metrics, and to the audit trail."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any, Final

from mallku_client import portal
from mallku_client.mallku.gateway import Gateway
from mallku_contracts.errors import MallkuError

MAX_REPORTS_UNDER_WAY: Final = 64
"""Reports of one process that were not answered yet; further violations are logged alone."""

MAX_VIOLATION_CHARS: Final = 4_096
"""A reported violation, characters; what is longer is cut."""

MAX_KEPT: Final = 10_000
"""Violations that one interface keeps in memory; beyond that the oldest half is forgotten."""

RECENT: Final = 10
"""Violations that metrics show."""

_LOG = logging.getLogger(__name__)
_under_way: set[Future[None]] = set()


def describe(collection: str, operation: str, message: str) -> dict[str, Any]:
    """One violation, as it is kept."""
    return {
        "timestamp": datetime.now(UTC).isoformat(),
        "collection": collection,
        "operation": operation,
        "violation": message,
    }


def keep(violations: list[Any], violation: dict[str, Any]) -> None:
    """Put a violation behind the others."""
    violations.append(violation)
    if len(violations) > MAX_KEPT:
        del violations[: MAX_KEPT // 2]


def compliance(operations: int, violations: int) -> float:
    """1 where nothing was refused, 0 where nothing else happened."""
    return 1.0 if not violations else max(0.0, 1.0 - violations / max(operations, violations))


def recent(violations: Sequence[Any]) -> list[Any]:
    """The last ones."""
    return list(violations[-RECENT:])


def report(gateway: Gateway, violation: dict[str, Any]) -> None:
    """Put a violation on the audit trail; nobody waits for it, and a failure is logged."""
    if len(_under_way) >= MAX_REPORTS_UNDER_WAY:
        _LOG.error("a security violation could not be reported, too many are: %s", violation)
        return
    try:
        future = portal.current().submit(_report(gateway, violation))
    except MallkuError as error:
        _LOG.error("a security violation could not be reported (%s): %s", error, violation)
        return
    _under_way.add(future)
    future.add_done_callback(_under_way.discard)


async def _report(gateway: Gateway, violation: dict[str, Any]) -> None:
    text = f"{violation['operation']}: {violation['violation']}"[:MAX_VIOLATION_CHARS]
    arguments = {"violation": text, "collection": violation["collection"]}
    try:
        await (await gateway.database()).command("report-violation", None, arguments)
    except MallkuError as error:
        _LOG.error("a security violation could not be reported (%s): %s", error, violation)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_under_way.clear)  # a parent's reports never end in a child
