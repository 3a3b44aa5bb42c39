"""Callers that cannot sign: each has a secret to show, and a key of its own that the door holds.

The file names neither secrets nor keys, only a secret's hash and where the key lies::

    {"reporting": {"secret_sha256": "…", "key_file": "key.pem", "token_file": "token.jwt"}}
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mallku_broker.files import read_private_text
from mallku_client.clock import Clock
from mallku_client.identity import ClientIdentity
from mallku_client.signer import Carried
from mallku_contracts.dpop import Asked, Proof, make_proof
from mallku_contracts.errors import ConfigurationError, InvalidToken
from mallku_contracts.identifiers import uuid7

MIN_SECRET_CHARS: Final = 32
"""A secret that is shown has at least as many characters; shorter ones are never looked up."""

MAX_SERVICES: Final = 1_000
"""Callers in one file."""

_FIELDS: Final = {"secret_sha256", "key_file", "token_file"}
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Service:
    """A caller whose key the door holds: it makes the proofs that the caller cannot make."""

    name: str
    identity: ClientIdentity = field(repr=False)
    clock: Clock = field(repr=False)

    def prove(self, asked: Asked, method: str, url: str) -> Carried:
        """A proof of exactly what is asked, made now."""
        now_ms = self.clock.now_ms()
        token, key = self.identity.token.current().raw, self.identity.key
        text = make_proof(
            key,
            token,
            method=method,
            url=url,
            now_s=now_ms // 1_000,
            token_id=uuid7(now_ms),
            command=asked.digest(),
        )
        return Carried(token, text, Proof.verify(text, token=token, key=key.public))


class Services:
    """All of them, found by the hash of what they show."""

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._by_digest = dict(services)

    def __len__(self) -> int:
        return len(self._by_digest)

    @classmethod
    def load(cls, path: Path | None, clock: Clock) -> Services:
        """Read the file, and every key and token that it names; none without a file.

        Raises:
            ConfigurationError: naming the file and the service that is wrong in it.
        """
        if path is None:
            return cls({})
        listed = _listed(path)
        found = {}
        for name, entry in listed.items():
            where = f"services file {path}: {name!r:.80}"
            digest, key_file, token_file = _entry(where, entry)
            if digest in found:
                raise ConfigurationError(f"{where}: two services have the same secret")
            folder = path.parent
            identity = ClientIdentity.load(None, folder / key_file, folder / token_file, clock)
            found[digest] = Service(name, identity, clock)
        return cls(found)

    def find(self, secret: str) -> Service:
        """Whose secret this is.

        Raises:
            InvalidToken: nobody's; the message holds nothing of it.
        """
        digest = hashlib.sha256(secret.encode()).hexdigest()
        if len(secret) >= MIN_SECRET_CHARS:
            for known, service in self._by_digest.items():
                if hmac.compare_digest(known, digest):
                    return service
        raise InvalidToken("the bearer secret is nobody's that this door knows")


def _listed(path: Path) -> dict[str, Any]:
    try:
        listed = json.loads(read_private_text(path, "services file"))
    except (ValueError, RecursionError):
        raise ConfigurationError(f"services file {path}: not JSON") from None
    if not isinstance(listed, dict) or len(listed) > MAX_SERVICES:
        raise ConfigurationError(
            f"services file {path}: expected an object of at most {MAX_SERVICES} services by name"
        )
    return listed


def _entry(where: str, entry: Any) -> tuple[str, str, str]:
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise ConfigurationError(f"{where}: expected {', '.join(sorted(_FIELDS))}")
    if not all(isinstance(value, str) and value for value in entry.values()):
        raise ConfigurationError(f"{where}: every value is a text that is not empty")
    if not _DIGEST.fullmatch(entry["secret_sha256"]):
        raise ConfigurationError(f"{where}: secret_sha256 has 64 hexadecimal digits in lower case")
    return entry["secret_sha256"], entry["key_file"], entry["token_file"]
