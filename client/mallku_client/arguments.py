"""Arguments that were given; what is left out, the gateway's own default decides."""

from __future__ import annotations

from typing import Any


def given(**arguments: Any) -> dict[str, Any]:
    """The arguments that are not None."""
    return {name: value for name, value in arguments.items() if value is not None}


def asked(**flags: bool) -> dict[str, Any]:
    """The flags that are set; all of them are off where nobody asks."""
    return {name: True for name, flag in flags.items() if flag}
