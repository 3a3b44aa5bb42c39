"""Who may sign policies and revocations, out of the trust file."""

from __future__ import annotations

from pathlib import Path

from mallku_broker.files import read_text
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.trust import Keys, TrustError, read_administrators


def load_administrators(path: Path) -> Keys:
    """The administrators' keys by key id, from a trust file; none where it names none.

    Raises:
        ConfigurationError: naming the file and what is wrong in it.
    """
    try:
        return read_administrators(read_text(path, "trust file"))
    except TrustError as error:
        raise ConfigurationError(f"trust file {path}: {error}") from None
