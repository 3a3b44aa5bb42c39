"""Who this client is: its principal, its signing key, and a token that others keep fresh."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mallku_broker.files import load_signing_key, load_token
from mallku_client.clock import Clock
from mallku_contracts.envelope import token_hash
from mallku_contracts.errors import (
    ConfigurationError,
    InvalidSubject,
    InvalidToken,
    TokenExpired,
)
from mallku_contracts.keys import SigningKey
from mallku_contracts.subjects import check_name
from mallku_contracts.unverified import read_unverified

RENEW_WITHIN: Final = 1 / 3
"""The last part of a token's life, in which its file is looked at again."""

LOOK_EVERY_S: Final = 1.0
"""The file is looked at no more often than this, seconds."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it lies in its file. Only the issuer's key could prove it; workers do."""

    raw: bytes = field(repr=False)
    hash: bytes = field(repr=False)
    claims: Mapping[str, Any] = field(repr=False)
    issued_at: int
    expires_at: int

    @classmethod
    def read(cls, text: str, where: str) -> Token:
        """Look into a token without believing it; `where` names its file in errors.

        Raises:
            ConfigurationError: it holds no claims, or none of `sub`, `iat`, `exp` and `cnf`.
        """
        claims = _claims(text, where)
        for claim in ("iat", "exp"):
            if type(claims.get(claim)) is not int:
                raise ConfigurationError(f"{where}: the claim {claim} is no number of seconds")
        raw = text.encode("ascii")
        return cls(raw, token_hash(raw), claims, claims["iat"], claims["exp"])

    @property
    def principal(self) -> object:
        """The claim `sub`."""
        return self.claims.get("sub")

    @property
    def key_id(self) -> object:
        """The key that the claim `cnf` binds the token to."""
        confirmation = self.claims.get("cnf")
        jwk = confirmation.get("jwk") if isinstance(confirmation, dict) else None
        return jwk.get("kid") if isinstance(jwk, dict) else None


def _claims(text: str, where: str) -> dict[str, Any]:
    try:
        return read_unverified(text)[1]
    except InvalidToken as error:
        raise ConfigurationError(f"{where}: {error.message}") from None


class TokenFile:
    """The token in a file, read again before it expires; an issuer puts newer ones there."""

    def __init__(
        self, path: Path, clock: Clock, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._clock = clock
        self._monotonic_s = monotonic_s
        self._next_look_s = 0.0
        self._token = self._load()
        self._renew_at_ms = self._renewal(self._token)

    def current(self) -> Token:
        """The token to send now.

        Raises:
            TokenExpired: its time is over and there is no newer one; names the file.
            ConfigurationError: the file went away or holds no token any more.
        """
        now_ms = self._clock.now_ms()
        if now_ms >= self._renew_at_ms:
            self._look(now_ms)
        return self._token

    def peek(self) -> Token:
        """The token that was read last, fresh or not."""
        return self._token

    def refresh(self) -> bool:
        """Read the file again; whether there was another token in it."""
        token = self._load()
        changed = token.raw != self._token.raw
        self._token = token
        self._renew_at_ms = self._renewal(token)
        return changed

    def _look(self, now_ms: int) -> None:
        expired = now_ms >= self._token.expires_at * 1000
        if self._monotonic_s() >= self._next_look_s or expired:
            self._next_look_s = self._monotonic_s() + LOOK_EVERY_S
            self.refresh()
        late_s = now_ms / 1000 - self._token.expires_at
        if late_s >= 0:
            raise TokenExpired(
                f"token file {self._path}: the token's exp passed {late_s:.0f} s ago; "
                "have a new one issued (mallku-gateway token issue), or look whether its renewal "
                "and this machine's clock still run"
            )

    def _load(self) -> Token:
        return Token.read(load_token(self._path), f"token file {self._path}")

    @staticmethod
    def _renewal(token: Token) -> int:
        life = token.expires_at - token.issued_at
        return int((token.expires_at - life * RENEW_WITHIN) * 1000)


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """What a command is signed with and in whose name."""

    principal: str
    key: SigningKey
    token: TokenFile

    @classmethod
    def load(
        cls, principal: str | None, key_file: Path, token_file: Path, clock: Clock
    ) -> ClientIdentity:
        """Read both files and see that they belong together; without a name, the token's is taken.

        Raises:
            ConfigurationError: naming the file and what is wrong with it.
        """
        key = load_signing_key(key_file)
        token = TokenFile(token_file, clock)
        held = token.peek()
        named = held.principal if principal is None else principal
        if held.principal != named:
            raise ConfigurationError(
                f"token file {token_file}: the token was issued to {held.principal!r}, "
                f"and this client is {principal!r} (MALLKU_PRINCIPAL)"
            )
        if held.key_id not in (None, key.kid):
            raise ConfigurationError(
                f"token file {token_file}: the token is bound to another key than the one in "
                f"key file {key_file}; issue a token for this key"
            )
        return cls(_checked(named, token_file), key, token)


def _checked(principal: object, token_file: Path) -> str:
    try:
        return check_name(principal, "principal")
    except InvalidSubject as error:
        raise ConfigurationError(f"{error} (MALLKU_PRINCIPAL, or sub in {token_file})") from None
