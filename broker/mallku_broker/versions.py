"""Which NATS servers are good enough."""

from __future__ import annotations

import re
from typing import Final

from mallku_contracts.errors import ConfigurationError

_VERSION = re.compile(r"(?<![\d.])v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?![\d.])")

MINIMUM: Final = (2, 14, 3)
MINIMUM_IN_OLDER_LINES: Final = {(2, 12): (2, 12, 12)}
"""Older lines that are kept up, and from which release on they hold what `MINIMUM` holds.

Before these, a client's `Nats-Trace-…` headers could divert or suppress what it may not touch.
"""


def check_server_version(text: str) -> tuple[int, int, int]:
    """The version in `text` (`nats-server: v2.15.1`, `2.15.1`) when it is good enough.

    Raises:
        ConfigurationError: it is too old, or there is no version in the text.
    """
    match = _VERSION.search(text)
    if match is None:
        raise ConfigurationError(f"{text[:80]!r} holds no version of nats-server")
    major, minor, patch = (int(part) for part in match.groups())
    version = (major, minor, patch)
    if version < MINIMUM_IN_OLDER_LINES.get((major, minor), MINIMUM):
        older = "".join(
            f", or {_dotted(least)} or later of {_dotted(line)}"
            for line, least in MINIMUM_IN_OLDER_LINES.items()
        )
        raise ConfigurationError(
            f"nats-server {match[0]} is too old: use {_dotted(MINIMUM)} or later{older}"
        )
    return version


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
