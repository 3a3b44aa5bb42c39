"""What the environment says about Mallku's database: which gateway, or none at all."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from mallku_client.settings import ClientSettings
from mallku_contracts.errors import ConfigurationError

CONNECT_TIMEOUT_S: Final = 0.75
"""How long a gateway that does not answer is waited for where nobody says otherwise, seconds.

Mallku's callers go on without their database; they must learn soon that it is away.
"""

GATEWAY: Final = "MALLKU_API_GATEWAY_URL"
OLD_GATEWAY: Final = "MALLKU_API_URL"
SKIP: Final = "MALLKU_SKIP_DATABASE"
SUBMIT: Final = "MALLKU_SUBMIT_COLLECTIONS"

_TRUE: Final = frozenset({"true", "1", "yes"})
_FALSE: Final = frozenset({"false", "0", "no", ""})
_OURS: Final = ("MALLKU_", "ARANGO_")
_SHOWN: Final = frozenset(
    {GATEWAY, OLD_GATEWAY, SKIP, SUBMIT, "MALLKU_DEV_MODE", "MALLKU_PRODUCTION"}
)
"""Variables whose values may be shown; of the others an error tells the names alone."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where Mallku's documents are.

    Attributes:
        skip: Send nothing, answer empty.
        found: What is set, for errors.
    """

    skip: bool
    settings: ClientSettings
    found: str

    def refuse_nowhere(self) -> None:
        """Refuse to begin where nothing says which gateway there is.

        Raises:
            ConfigurationError: lists what was found.
        """
        if not (self.skip or self.settings.url or self.settings.dev_mode):
            others = f", MALLKU_DEV_MODE=true, or {SKIP}=true"  # which production refuses
            raise ConfigurationError(
                f"nothing says where the gateway is: set {GATEWAY} (`mallku-gateway up --env-file` "
                f"writes all that is needed){'' if self.settings.production else others}; "
                f"found: {self.found}"
            )


def read_environment(source: Mapping[str, str] | None = None) -> Environment:
    """What the process's environment says, or another.

    Raises:
        ConfigurationError: it says things that do not go together; lists what was found.
    """
    variables = os.environ if source is None else source
    found = _found(variables)
    skip = _flag(variables, SKIP)
    settings = _settings(variables)
    url, old = variables.get(GATEWAY, "").strip(), variables.get(OLD_GATEWAY, "").strip()
    if url and old and url != old:
        raise ConfigurationError(f"{GATEWAY} and {OLD_GATEWAY} name different gateways: {found}")
    if settings.production and settings.dev_mode:
        raise ConfigurationError(
            f"MALLKU_DEV_MODE is refused while MALLKU_PRODUCTION is true; found: {found}"
        )
    if settings.production and skip:
        raise ConfigurationError(
            f"{SKIP} would lose every document, and MALLKU_PRODUCTION is true; found: {found}"
        )
    return Environment(skip, settings, found)


def goes_as_job(collection: str, source: Mapping[str, str] | None = None) -> bool:
    """Whether the environment has single inserts into a collection go as durable jobs.

    `MALLKU_SUBMIT_COLLECTIONS` holds names and globs with commas between them.
    """
    variables = os.environ if source is None else source
    globs = variables.get(SUBMIT, "")
    return (
        bool(globs)
        and any(fnmatchcase(collection, glob.strip()) for glob in globs.split(","))
        and not _flag(variables, SKIP)
    )


def _settings(variables: Mapping[str, str]) -> ClientSettings:
    settings = ClientSettings.from_environment(variables)
    if settings.url is None and (old := variables.get(OLD_GATEWAY, "").strip()):
        settings = settings.override(url=old)
    if not variables.get("MALLKU_CONNECT_TIMEOUT", "").strip():
        settings = replace(settings, connect_timeout_s=CONNECT_TIMEOUT_S)
    return settings


def _flag(variables: Mapping[str, str], name: str) -> bool:
    text = variables.get(name, "").strip().lower()
    if text not in _TRUE | _FALSE:
        raise ConfigurationError(f"{name}={text[:80]!r}: expected true or false")
    return text in _TRUE


def _found(variables: Mapping[str, str]) -> str:
    names = sorted(name for name in variables if name.startswith(_OURS) and variables[name])
    shown = [f"{name}={_told(variables[name])}" if name in _SHOWN else name for name in names]
    return ", ".join(shown) or "nothing that begins with MALLKU_ or ARANGO_"


def _told(value: str) -> str:
    """A value without what may stand before the `@` of a URL."""
    return re.sub(r"//[^/@]*@", "//…@", value)[:200]
