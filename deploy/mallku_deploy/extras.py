"""Parts of the gateway that are installed only when asked for, and how to ask for them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from mallku_contracts.errors import ConfigurationError

_WORKERS: Final = ("arango", "prometheus_client", "pybreaker")


def require_workers() -> None:
    """`ConfigurationError` naming the extra, when this installation cannot run workers."""
    missing = [name for name in _WORKERS if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"running workers needs {', '.join(missing)}: pip install 'mallku-gateway[workers]'"
        )


def require_gateway() -> None:
    """As `require_workers`, for a whole gateway: its NATS server is looked for as well."""
    missing = [name for name in _WORKERS if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"a gateway of your own needs {', '.join(missing)}:"
            " pip install 'mallku-gateway[workers,embedded]'"
        )
