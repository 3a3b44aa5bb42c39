"""The worker's own token, read again from its file while the worker runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from mallku_broker.files import load_token
from mallku_contracts.errors import ConfigurationError

_log = structlog.get_logger("mallku.credentials")


class TokenFile:
    """A token that somebody else renews in a file.

    Args:
        reread_s: Between two looks at the file, seconds.
    """

    def __init__(self, path: Path, reread_s: float) -> None:
        self._path = path
        self._reread_s = reread_s
        self._token = load_token(path).encode()

    @property
    def current(self) -> bytes:
        """The token as it was read last."""
        return self._token

    async def keep_fresh(self) -> None:
        """Read the file again and again until cancelled; the last good token stays in use."""
        while True:
            await asyncio.sleep(self._reread_s)
            try:
                self._token = load_token(self._path).encode()
            except ConfigurationError as error:
                _log.warning("token_not_read", reason=str(error))
