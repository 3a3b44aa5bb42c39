"""Passwords of database users in files of mode 0600: read, or made, and never shown."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from mallku_broker.files import create_private_text, make_private_folder, read_private_text
from mallku_contracts.errors import ConfigurationError

PASSWORD_BYTES: Final = 32
"""Random bytes of a password that is made."""


def read(file: Path) -> str:
    """The password in a file.

    Raises:
        ConfigurationError: others may read it, or it is empty.
    """
    password = read_private_text(file, "password file").strip("\r\n")
    if not password:
        raise ConfigurationError(f"password file {file}: empty")
    return password


def read_or_make(file: Path) -> str:
    """The password in a file, which is made with a new one where it is missing.

    Raises:
        ConfigurationError: it can neither be read nor made.
    """
    if file.exists():
        return read(file)
    if not file.parent.exists():
        make_private_folder(file.parent)
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    create_private_text(file, f"{password}\n")
    return password
