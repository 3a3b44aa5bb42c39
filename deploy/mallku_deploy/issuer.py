"""The local issuer: gives tokens to principals and workers, and renews them before they expire."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mallku_broker.files import load_token, write_private_text
from mallku_contracts.errors import ConfigurationError, EnvelopeError
from mallku_contracts.keys import PublicKey, SigningKey
from mallku_contracts.subjects import check_name
from mallku_contracts.tokens import Identity, issue_token, verify_token
from mallku_contracts.trust import Trust

TOKEN_LIFE_S: Final = 3_600
"""How long a token of `up` is valid, seconds."""

RENEW_BEFORE_S: Final = 1_200
"""How long before its end a token is renewed, seconds."""

RENEWAL_LOOK_S: Final = 15.0
"""Between two looks at the tokens while `up` runs, seconds; by the wall clock, as sleep may be."""

_TOKEN_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Issuer:
    """A name in trust files and the key behind it."""

    name: str
    key: SigningKey

    @property
    def trust(self) -> Trust:
        """The document with which others believe this issuer."""
        return Trust.of(self.name, self.key.public)

    def issue(
        self,
        principal: str,
        key: PublicKey,
        *,
        roles: frozenset[str],
        audience: str,
        now_s: int,
        life_s: int = TOKEN_LIFE_S,
    ) -> str:
        """A token that says `principal` signs with `key`, valid for `life_s` seconds from now."""
        identity = Identity(
            issuer=self.name,
            audience=audience,
            principal=check_name(principal, "principal"),
            roles=roles,
            issued_at=now_s,
            expires_at=now_s + life_s,
            token_id=secrets.token_hex(_TOKEN_ID_BYTES),
            key=key,
        )
        return issue_token(identity, self.key)


@dataclass(frozen=True, slots=True)
class TokenOrder:
    """Where a token lies, and what it has to say."""

    path: Path
    principal: str
    roles: frozenset[str]
    audience: str
    key: PublicKey


def renew(files: Iterable[TokenOrder], issuer: Issuer, now_s: float) -> list[TokenOrder]:
    """Write anew each token that is missing, wrong or soon over; the result lists those."""
    due = [file for file in files if not _is_good(file, issuer, now_s)]
    for file in due:
        token = issuer.issue(
            file.principal, file.key, roles=file.roles, audience=file.audience, now_s=int(now_s)
        )
        write_private_text(file.path, token + "\n")
    return due


def _is_good(file: TokenOrder, issuer: Issuer, now_s: float) -> bool:
    try:
        token = load_token(file.path)
        identity = verify_token(
            token, issuer.trust, audience=file.audience, now_s=now_s, leeway_s=0
        )
    except (ConfigurationError, EnvelopeError):
        return False
    said = (identity.principal, identity.roles, identity.key)
    wanted = (file.principal, file.roles, file.key)
    return said == wanted and identity.expires_at - now_s > RENEW_BEFORE_S
