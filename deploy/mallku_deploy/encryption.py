"""The key that a house's streams are encrypted with on disk."""

from __future__ import annotations

import secrets
from typing import Final

from mallku_broker.configuration import StoreEncryption
from mallku_broker.files import create_private_text
from mallku_deploy.house import House

_KEY_BYTES: Final = 32


def store_encryption(house: House) -> StoreEncryption | None:
    """How streams are encrypted; a house that has a key once uses it at every start."""
    if not house.streams_key.exists():
        return None
    former = house.former_streams_key
    return StoreEncryption(house.streams_key, former_key_file=former if former.exists() else None)


def make_streams_key(house: House) -> None:
    """Make the key, unless there is one; a link to a file elsewhere is one as well."""
    if not house.streams_key.exists():
        create_private_text(house.streams_key, secrets.token_hex(_KEY_BYTES) + "\n")
