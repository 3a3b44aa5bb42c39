"""The data directory of `up`: what lies where, as values, and nothing else.

::

    issuer.pem  trust.json  policy.yaml  adopted.yaml
    principals/NAME/{key.pem,token.jwt,nats.nk}    a caller's key, token and NATS credentials
    workers/SLOT/{key.pem,token.jwt,bus.nk,records.nk}
    nats/                                          the server's configuration and log, and streams/
    store/                                         the embedded store
    keys/retired/KID.json                          public keys of workers that are no more
    lock  running.json                             who lives here now, and how to reach them
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ISSUER: Final = "mallku-local"
"""The name of the local issuer in trust files."""

DATABASE: Final = "mallku"
"""The database that `up` serves."""


@dataclass(frozen=True, slots=True)
class _SignerFiles:
    folder: Path

    @property
    def key(self) -> Path:
        """The signing key, PEM."""
        return self.folder / "key.pem"

    @property
    def token(self) -> Path:
        """The token, renewed by `up` while it runs."""
        return self.folder / "token.jwt"


class PrincipalFiles(_SignerFiles):
    """Where one principal's secrets lie. Those who send no commands have the last alone."""

    __slots__ = ()

    @property
    def credentials(self) -> Path:
        """The nkey seed of the NATS connection."""
        return self.folder / "nats.nk"


class WorkerFiles(_SignerFiles):
    """Where one worker's secrets lie."""

    __slots__ = ()

    @property
    def slot(self) -> str:
        """The worker's place, which is its principal as well."""
        return self.folder.name

    @property
    def bus(self) -> Path:
        """The nkey seed of the connection that takes commands."""
        return self.folder / "bus.nk"

    @property
    def records(self) -> Path:
        """The nkey seed of the connection that writes the trail."""
        return self.folder / "records.nk"


@dataclass(frozen=True, slots=True)
class House:
    """A data directory (0700), by its absolute path."""

    root: Path

    @property
    def issuer(self) -> Path:
        """The issuer's private key: read by `up` and `token issue`, by no worker and no caller."""
        return self.root / "issuer.pem"

    @property
    def trust(self) -> Path:
        """Whose tokens are believed."""
        return self.root / "trust.json"

    @property
    def policy(self) -> Path:
        """Who may do what; people edit it."""
        return self.root / "policy.yaml"

    @property
    def adopted(self) -> Path:
        """The policy as the last start read it: a worker that comes later decides by the same."""
        return self.root / "adopted.yaml"

    @property
    def principals(self) -> Path:
        """One folder for each principal."""
        return self.root / "principals"

    @property
    def workers(self) -> Path:
        """One folder for each worker."""
        return self.root / "workers"

    @property
    def server(self) -> Path:
        """The NATS server's own folder."""
        return self.root / "nats"

    @property
    def streams(self) -> Path:
        """Where the NATS server keeps streams."""
        return self.server / "streams"

    @property
    def store(self) -> Path:
        """Where the embedded store keeps its files."""
        return self.root / "store"

    @property
    def retired(self) -> Path:
        """Public keys of workers that are no more."""
        return self.root / "keys" / "retired"

    @property
    def lock(self) -> Path:
        """Held by the `up` that lives here."""
        return self.root / "lock"

    @property
    def running(self) -> Path:
        """How to reach the `up` that lives here."""
        return self.root / "running.json"

    def principal(self, name: str) -> PrincipalFiles:
        """The files of one principal."""
        return PrincipalFiles(self.principals / name)

    def worker(self, slot: str) -> WorkerFiles:
        """The files of one worker."""
        return WorkerFiles(self.workers / slot)

    def environment(self, principal: str, url: str) -> dict[str, str]:
        """What a caller's process needs in its environment to speak as `principal`."""
        files = self.principal(principal)
        return {
            "MALLKU_API_GATEWAY_URL": url,
            "MALLKU_PRINCIPAL": principal,
            "MALLKU_KEY_FILE": str(files.key),
            "MALLKU_TOKEN_FILE": str(files.token),
            "MALLKU_TRUST_FILE": str(self.trust),
            "MALLKU_NATS_CREDENTIALS": str(files.credentials),
            "MALLKU_DATABASE": DATABASE,
        }


def default_house() -> House:
    """`$XDG_STATE_HOME/mallku-gateway`, by default `~/.local/state/mallku-gateway`."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return House(Path(state).absolute() / "mallku-gateway")
