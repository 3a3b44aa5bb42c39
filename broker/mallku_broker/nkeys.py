"""nkeys: the Ed25519 keys with which NATS connections prove who they are (ADR-14)."""

from __future__ import annotations

import secrets
from typing import Final

import nkeys as _nkeys

from mallku_contracts.errors import ConfigurationError
from mallku_contracts.keys import SEED_BYTES

_USER: Final[int] = _nkeys.PREFIX_BYTE_USER


def new_nkey() -> tuple[str, str]:
    """A fresh key as `(seed, public)`; the seed is a secret, the public half goes into policy."""
    seed: str = _nkeys.encode_seed(secrets.token_bytes(SEED_BYTES), _USER).decode()
    return seed, public_nkey(seed)


def public_nkey(seed: str) -> str:
    """The public half of a seed.

    Raises:
        ConfigurationError: it is no seed; the message never holds any of it.
    """
    text = seed.strip().encode()
    try:
        prefix, raw = _nkeys.decode_seed(bytearray(text))
        public: str = _nkeys.from_seed(bytearray(text)).public_key.decode()
        if _nkeys.encode_seed(bytes(raw), prefix) != text:  # nkeys itself skips the checksum
            raise _nkeys.ErrInvalidSeed
    except (_nkeys.NkeysError, ValueError):
        raise ConfigurationError("this is not the seed of an nkey") from None
    return public
