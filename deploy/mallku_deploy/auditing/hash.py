"""`audit hash`: what a known value is called in records that hold hashes in the place of values."""

from __future__ import annotations

import math
from pathlib import Path

from mallku_broker.files import load_digests
from mallku_contracts.errors import ConfigurationError
from mallku_deploy.house import House, default_house


def hash_value(
    value: str, key_file: Path | None, data: Path | None, *, as_string: bool = False
) -> str:
    """The keyed hash of a value as records have it.

    Args:
        value: A string as it is, or a number as JSON writes it.
        key_file: The workers' key; by default the one in the house of `up`.
        as_string: It is no number, though it looks like one.

    Raises:
        ConfigurationError: there is no such key, or others may read it.
    """
    house = House(data.absolute()) if data else default_house()
    path = key_file or house.digest_key
    if key_file is None and not path.exists():
        raise ConfigurationError(f"{path} is not there: name the workers' key with --key-file")
    return load_digests(path).of(value if as_string else _spelled(value))


def _spelled(value: str) -> str | float:
    """A number that may be spelled in several ways as a number, everything else as it is."""
    try:
        number = float(value)
    except ValueError:
        return value
    whole = value.lstrip("-").isdecimal()  # all of its digits count
    return value if whole or not math.isfinite(number) else number
