"""What proves who is who, read again while the worker runs: its own token, and whom it trusts."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import structlog

from mallku_broker.files import load_token
from mallku_broker.trust import TrustFile
from mallku_contracts.errors import ConfigurationError, EnvelopeError
from mallku_contracts.keys import PublicKey
from mallku_contracts.limits import MAX_CLOCK_SKEW_MS
from mallku_contracts.tokens import REPLY_AUDIENCE, verify_token
from mallku_workers.identity import Trusting

_LEEWAY_S = MAX_CLOCK_SKEW_MS / 1_000
_log = structlog.get_logger("mallku.credentials")


async def keep_trust(trust: TrustFile, reread_s: float) -> None:
    """Look at the trust file every `reread_s` seconds until cancelled."""
    while True:
        await asyncio.sleep(reread_s)
        if await asyncio.to_thread(trust.look):  # a slow disk holds no command up
            _log.warning("trust_changed", issuers=sorted(trust.trust.issuers))


def trust_complaint(text: str) -> None:
    """Log what is wrong with a change of the trust."""
    _log.warning("trust_not_taken", reason=text)


class ReplyToken:
    """The worker's own token, which somebody else renews in a file.

    Only one that clients can believe is taken: issued by somebody trusted, for replies, to the key
    that signs them, and not expired.

    Args:
        key: The key that replies are signed with.
        reread_s: Between two looks at the file, seconds.

    Raises:
        ConfigurationError: naming the file and what is wrong with the token in it.
    """

    def __init__(self, path: Path, key: PublicKey, trusting: Trusting, reread_s: float) -> None:
        self._path = path
        self._key = key
        self._trusting = trusting
        self._reread_s = reread_s
        self._token = self._read()

    @property
    def current(self) -> bytes:
        """The token as it was read last."""
        return self._token

    async def keep_fresh(self) -> None:
        """Read the file again and again until cancelled; the last good token stays in use."""
        while True:
            await asyncio.sleep(self._reread_s)
            await asyncio.to_thread(self.reread)  # a slow disk holds no command up

    def reread(self) -> None:
        """Take the token that is in the file now; keep the last one when that one is not good."""
        try:
            self._token = self._read()
        except ConfigurationError as error:
            _log.warning("token_not_taken", reason=str(error))

    def _read(self) -> bytes:
        token = load_token(self._path).encode()
        try:
            identity = verify_token(
                token,
                self._trusting.trust,
                audience=REPLY_AUDIENCE,
                now_s=time.time(),
                leeway_s=_LEEWAY_S,
            )
        except EnvelopeError as error:
            raise ConfigurationError(f"token file {self._path}: {error.message}") from None
        if identity.key != self._key:
            raise ConfigurationError(
                f"token file {self._path}: the token is bound to another key than the worker's"
            )
        return token
