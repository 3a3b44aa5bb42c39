"""Parts of the gateway that are installed only when asked for, and how to ask for them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from mallku_contracts.errors import ConfigurationError

_WORKERS: Final = ("pybreaker", "uvloop")
"""What workers import of their extra."""

_HTTP: Final = ("fastapi", "uvicorn")
"""What the HTTP door imports of its extra."""


def require_workers() -> None:
    """`ConfigurationError` naming the extra, when this installation cannot run workers."""
    _require("running workers", "workers")


def require_gateway() -> None:
    """As `require_workers`, for a whole gateway; who starts its NATS server looks for that one."""
    _require("a gateway of your own", "workers,embedded")


def require_http() -> None:
    """`ConfigurationError` naming the extra, when this installation cannot serve HTTP."""
    _require("the HTTP door", "http", _HTTP)


def _require(what: str, extras: str, needed: tuple[str, ...] = _WORKERS) -> None:
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"{what} needs {', '.join(missing)}: pip install 'mallku-gateway[{extras}]'"
        )
