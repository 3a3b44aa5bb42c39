"""Parts of the gateway that are installed only when asked for, and how to ask for them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from mallku_contracts.errors import ConfigurationError

_WORKERS: Final = ("pybreaker", "uvloop")
"""What workers import of their extra."""


def require_workers() -> None:
    """`ConfigurationError` naming the extra, when this installation cannot run workers."""
    _require("running workers", "workers")


def require_gateway() -> None:
    """As `require_workers`, for a whole gateway; who starts its NATS server looks for that one."""
    _require("a gateway of your own", "workers,embedded")


def _require(what: str, extras: str) -> None:
    missing = [name for name in _WORKERS if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"{what} needs {', '.join(missing)}: pip install 'mallku-gateway[{extras}]'"
        )
