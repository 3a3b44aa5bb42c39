"""The environment of a caller, as values and as a file that shells and dotenv libraries read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from mallku_broker.files import load_token, read_private_text, write_private_text
from mallku_client.dev_mode import read_env_file as parse
from mallku_client.identity import Token
from mallku_client.settings import ClientSettings
from mallku_contracts.errors import ConfigurationError

_BARE: Final = re.compile(r"[A-Za-z0-9_./:@%+,=~-]*")
_QUOTED: Final = re.compile(r"[^'\\\x00-\x1f\x7f]*")


def write_env_file(path: Path, values: Mapping[str, str]) -> None:
    """Write `NAME=value` lines, mode 0600, whole or not at all.

    `set -a; . FILE; set +a`, python-dotenv and `docker --env-file` read the same values from it:
    values that need no quotes have none.
    """
    lines = [f"{name}={_quote(name, value)}\n" for name, value in values.items()]
    write_private_text(path, "".join(lines))


def read_env_file(path: Path) -> dict[str, str]:
    """The values of such a file; `ConfigurationError` names the line that is none."""
    text = read_private_text(path, "environment file")
    try:
        return parse(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.message}") from None


def settings_in(environment: Mapping[str, str]) -> ClientSettings:
    """A client's settings; a folder of credentials says whose it is, where nothing else does.

    It does so by the token in it, or by its own name where none is there.

    Raises:
        ConfigurationError: a value, or the token, cannot be read.
    """
    settings = ClientSettings.from_environment(environment)
    if settings.principal is not None or settings.credentials is None:
        return settings
    return replace(settings, principal=_principal_of(settings.credentials, settings.token_file))


def _principal_of(folder: Path, token: Path | None) -> str:
    if token is None:
        return folder.name
    return str(Token.read(load_token(token), f"token file {token}").principal)


def _quote(name: str, value: str) -> str:
    if _BARE.fullmatch(value):
        return value
    # Shells and dotenv libraries disagree about every kind of escape.
    if not _QUOTED.fullmatch(value) or "${" in value:
        raise ConfigurationError(
            f"{name}: {value!r} cannot be written so that every reader reads the same;"
            " use a path without quotes, backslashes, ${ and control characters"
        )
    return f"'{value}'"
