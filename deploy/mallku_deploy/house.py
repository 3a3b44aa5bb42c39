"""The data directory of `up`: what lies where, as values, and nothing else.

::

    issuer.pem  administrator.pem  trust.json  policy.yaml  adopted.yaml
    principals/NAME/{key.pem,token.jwt,nats.nk}    a caller's key, token and NATS credentials
    workers/SLOT/{key.pem,token.jwt,bus.nk,records.nk}
    tls/{ca,server}.{pem,key}                      with TLS; and {tls.pem,tls.key} beside each key
    streams.key                                    what streams are encrypted with, if they are
    nats/                                          the server's configuration and log, and streams/
    store/                                         the embedded store
    http/{services.json,mallku.secret}             with the HTTP door: who may ask, and a secret
    keys/retired/KID.json                          public keys of workers that are no more
    lock  running.json                             who lives here now, and how to reach them
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mallku_broker.tls import TlsFiles

ISSUER: Final = "mallku-local"
"""The name of the local issuer in trust files."""

DATABASE: Final = "mallku"
"""The database that `up` serves."""

_TLS_VARIABLES: Final = ("MALLKU_TLS_CA_FILE", "MALLKU_TLS_CERT_FILE", "MALLKU_TLS_KEY_FILE")


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

    @property
    def certificate(self) -> Path:
        """What is shown to a server with TLS, PEM."""
        return self.folder / "tls.pem"

    @property
    def certificate_key(self) -> Path:
        """The key of `certificate`, PEM."""
        return self.folder / "tls.key"


class PrincipalFiles(_SignerFiles):
    """Where one principal's secrets lie. Those who send no commands have the last alone."""

    __slots__ = ()

    @property
    def credentials(self) -> Path:
        """The nkey seed of the NATS connection."""
        return self.folder / "nats.nk"

    @property
    def trust(self) -> Path:
        """A link to the trust file."""
        return self.folder / "trust.json"

    @property
    def ca(self) -> Path:
        """A link to who may vouch for the broker, where there is TLS."""
        return self.folder / "ca.pem"


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
    def administrator(self) -> Path:
        """The key that signs policies and revocations: read by `up` and by whoever pushes them."""
        return self.root / "administrator.pem"

    @property
    def digest_key(self) -> Path:
        """Hashes what records must not hold: read by workers, and by who looks for a value."""
        return self.root / "digest.key"

    @property
    def trust(self) -> Path:
        """Whose tokens are believed, and who may sign policies and revocations."""
        return self.root / "trust.json"

    @property
    def connection_keys(self) -> Path:
        """Whose connection each nkey is: read by workers, to say who read the trail."""
        return self.root / "nkeys.json"

    @property
    def policy(self) -> Path:
        """Who may do what; people edit it."""
        return self.root / "policy.yaml"

    @property
    def adopted(self) -> Path:
        """The policy that was in force last: the broker's lock at the next start."""
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
    def http(self) -> Path:
        """What the HTTP door of `up` knows its services by."""
        return self.root / "http"

    @property
    def http_secret(self) -> Path:
        """What the house's own caller shows over HTTP."""
        return self.http / "mallku.secret"

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

    @property
    def targets(self) -> Path:
        """Where each worker's metrics are: what Prometheus reads as `file_sd_configs`."""
        return self.root / "prometheus.json"

    @property
    def tls(self) -> Path:
        """The authority's and the server's certificates."""
        return self.root / "tls"

    @property
    def authority(self) -> Path:
        """Who vouches for certificates."""
        return self.tls / "ca.pem"

    @property
    def authority_key(self) -> Path:
        """The authority's private key: read by `up` alone; not there when somebody else issues."""
        return self.tls / "ca.key"

    @property
    def server_certificate(self) -> Path:
        """What the NATS server shows."""
        return self.tls / "server.pem"

    @property
    def server_key(self) -> Path:
        """The key of `server_certificate`."""
        return self.tls / "server.key"

    @property
    def streams_key(self) -> Path:
        """What streams are encrypted with on disk; without it they lie there as they are."""
        return self.root / "streams.key"

    @property
    def former_streams_key(self) -> Path:
        """What streams were encrypted with before `streams_key` was changed."""
        return self.root / "streams.former.key"

    def tls_files(self, holder: PrincipalFiles | WorkerFiles, url: str) -> TlsFiles:
        """What `holder` believes and shows at this URL; nothing where there is no TLS."""
        if not url.startswith("tls:"):
            return TlsFiles()
        return TlsFiles(self.authority, holder.certificate, holder.certificate_key)

    def principal(self, name: str) -> PrincipalFiles:
        """The files of one principal."""
        return PrincipalFiles(self.principals / name)

    def worker(self, slot: str) -> WorkerFiles:
        """The files of one worker."""
        return WorkerFiles(self.workers / slot)

    def environment(self, principal: str, url: str) -> dict[str, str]:
        """What a caller's process needs in its environment to speak as `principal`."""
        files = self.principal(principal)
        tls = zip(_TLS_VARIABLES, self.tls_files(files, url), strict=True)
        return {
            "MALLKU_API_GATEWAY_URL": url,
            "MALLKU_PRINCIPAL": principal,
            "MALLKU_KEY_FILE": str(files.key),
            "MALLKU_TOKEN_FILE": str(files.token),
            "MALLKU_TRUST_FILE": str(self.trust),
            "MALLKU_NATS_CREDENTIALS": str(files.credentials),
            "MALLKU_DATABASE": DATABASE,
        } | {name: str(path) for name, path in tls if path is not None}


def link_once(link: Path, target: Path) -> None:
    """Let a principal's folder hold what lies elsewhere in the house too."""
    if not link.is_symlink():
        link.symlink_to(os.path.relpath(target, link.parent))


def default_house() -> House:
    """`$XDG_STATE_HOME/mallku-gateway`, by default `~/.local/state/mallku-gateway`."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return House(Path(state).absolute() / "mallku-gateway")
