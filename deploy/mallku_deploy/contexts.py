"""Contexts of the `nats` command line: who connects where, with which key, and how they may speak.

The file format is that of natscli's package `natscontext`; a context names a key's file and holds
no secret itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from mallku_broker.accounts import (
    AUDITOR_PREFIX,
)
from mallku_broker.files import PRIVATE_FOLDER_MODE, read_text, write_private_text
from mallku_broker.tls import TlsFiles
from mallku_client.settings import ClientSettings
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.subjects import check_name, inbox_prefix
from mallku_deploy.environment import read_env_file, settings_in
from mallku_deploy.house import House, default_house
from mallku_deploy.reading import read_policy_file

Kind = Literal["caller", "inspector", "auditor", "administrator", "door"]

PREFIX: Final = "mallku-"
"""What the names of our contexts begin with."""

_OURS: Final = "Mallku gateway: "
_CREDENTIALS: Final = "-----BEGIN NATS USER JWT"


@dataclass(frozen=True, slots=True)
class Context:
    """One principal's way to the broker.

    Attributes:
        kind: What the policy says the principal is.
        credentials: An nkey seed, or NATS credentials.
    """

    principal: str
    kind: Kind
    url: str
    credentials: Path
    tls: TlsFiles = field(default_factory=TlsFiles)

    @property
    def name(self) -> str:
        """What follows `nats --context`."""
        return f"{PREFIX}{self.principal}"

    def values(self) -> dict[str, str]:
        """What stands in the file; raises `ConfigurationError` when the key cannot be read."""
        text = read_text(self.credentials, "NATS credentials")
        holder = "creds" if text.lstrip().startswith(_CREDENTIALS) else "nkey"
        values: dict[str, Any] = {
            "description": f"{_OURS}{self.principal}, {self.kind}",
            "url": self.url,
            holder: self.credentials.absolute(),
            "inbox_prefix": inbox_prefix(self.principal),
            "jetstream_api_prefix": AUDITOR_PREFIX if self.kind == "auditor" else "",
            "ca": self.tls.ca or "",
            "cert": self.tls.certificate or "",
            "key": self.tls.key or "",
        }
        return {name: str(value) for name, value in values.items() if value}


def context_file(name: str, environment: Mapping[str, str] = os.environ) -> Path:
    """Where `nats` looks for a context: below `$XDG_CONFIG_HOME`, by default `~/.config`."""
    home = environment.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "nats" / "context" / f"{name}.json"


def write_context(context: Context) -> Path:
    """Write the context, or write it anew; returns its file.

    Raises:
        ConfigurationError: a context of this name is somebody else's, or it cannot be written.
    """
    path = context_file(context.name)
    if path.exists() and not _is_ours(path):
        raise ConfigurationError(f"{path} was not written by us; remove it, or name another folder")
    text = json.dumps(context.values(), indent=2) + "\n"
    try:
        path.parent.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"cannot make {path.parent}: {error.strerror}") from error
    write_private_text(path, text)
    return path


def context_of_key(principal: str, kind: Kind, url: str | None, credentials: Path) -> Context:
    """The context of a key that was made just now; without `url` the environment says where."""
    check_name(principal, "principal")
    settings = ClientSettings.from_environment()
    where = url or settings.require("url", "where the broker is; name it with --url")
    tls = TlsFiles(settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file)
    return Context(principal, kind, where, credentials, tls)


def find_context(
    principal: str, kind: Kind | None, env_file: Path | None, data: Path | None
) -> Context:
    """The context of somebody whose key is there: in a running `up`, a file, or the environment.

    Raises:
        ConfigurationError: naming what is missing, and the ways to say it.
    """
    check_name(principal, "principal")
    if env_file is not None:
        return _of_settings(principal, kind, os.environ | read_env_file(env_file))
    if data is None and settings_in(os.environ).principal == principal:
        return _of_settings(principal, kind, os.environ)
    return _of_house(House(data.absolute()) if data else default_house(), principal)


def _of_settings(principal: str, kind: Kind | None, environment: Mapping[str, str]) -> Context:
    settings = settings_in(environment)
    if settings.principal != principal:
        raise ConfigurationError(
            f"the environment is {settings.principal!r}'s, not {principal!r}'s;"
            " a running `up` is named with --data DIR"
        )
    return Context(
        principal,
        kind or "caller",
        settings.require("url", "where the broker is"),
        settings.require("nats_credentials", "what opens the connection"),
        TlsFiles(settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file),
    )


def _of_house(house: House, principal: str) -> Context:
    from mallku_deploy.tenancy import find

    running = find(house)
    if running is None:
        raise ConfigurationError(
            f"no gateway runs in {house.root}: start `mallku-gateway up`, name another with"
            " --data DIR, or make a new key: keys new FILE --nats-context NAME --url URL"
        )
    known = read_policy_file(house.adopted).principals
    files = house.principal(principal)
    if principal not in known or not files.credentials.exists():
        here = ", ".join(name for name in known if house.principal(name).credentials.exists())
        raise ConfigurationError(f"{house.root} has no key of {principal!r}; it has: {here}")
    tls = house.tls_files(files, running.url)
    return Context(principal, known[principal].kind, running.url, files.credentials, tls)


def _is_ours(path: Path) -> bool:
    try:
        return str(json.loads(read_text(path, "context"))["description"]).startswith(_OURS)
    except (ValueError, KeyError, TypeError):
        return False
