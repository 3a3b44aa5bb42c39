"""Who can be examined: the connections whose credentials are at hand, of a house or as files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mallku_broker.connection import ConnectionSettings
from mallku_broker.permissions import WORKER_INBOX_PREFIX
from mallku_broker.tls import TlsFiles
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.policy import Policy
from mallku_contracts.subjects import INBOX_ROOT, inbox_prefix
from mallku_contracts.wording import did_you_mean
from mallku_deploy.doctor.attempts import Kind
from mallku_deploy.house import House, WorkerFiles
from mallku_deploy.locks import house_policy
from mallku_deploy.reading import read_policy_file
from mallku_deploy.tenancy import find

WORKERS: Final = (Kind.BUS, Kind.RECORDS)

_GIVE: Final = "no credentials at hand: give them with --credentials {}=FILE"


@dataclass(frozen=True, slots=True)
class Role:
    """One who may connect, and how."""

    kind: Kind
    name: str
    settings: ConnectionSettings = field(repr=False)

    @property
    def inbox(self) -> str:
        """Where answers to this connection go; the workers' bus hears none."""
        match self.kind:
            case Kind.RECORDS:
                return WORKER_INBOX_PREFIX
            case Kind.BUS:
                return f"{INBOX_ROOT}.worker"
            case _:
                return inbox_prefix(self.name)


@dataclass(frozen=True, slots=True)
class Examined:
    """A gateway: its policy, who of it can be examined, and who cannot, with the reason.

    Attributes:
        missing: Kind, name and reason.
    """

    url: str
    policy: Policy
    roles: tuple[Role, ...]
    missing: tuple[tuple[Kind, str, str], ...]


@dataclass(frozen=True, slots=True)
class Given:
    """What stands on the command line for a gateway that is no house."""

    url: str
    policy: Path
    tls: TlsFiles = field(default_factory=TlsFiles)


def examine_house(house: House, given: Mapping[str, Path]) -> Examined:
    """Everybody whose credentials lie in the house of a running `up`, and those that were given.

    Raises:
        ConfigurationError: nothing runs there, or a name is not in its policy.
    """
    running = find(house)
    if running is None:
        raise ConfigurationError(
            f"no gateway runs in {house.root}: start `mallku-gateway up`, name another with"
            " --data DIR, or any with --url, --policy and --credentials"
        )
    policy = house_policy(house)
    found = {
        name: (
            house.principal(name).credentials,
            house.tls_files(house.principal(name), running.url),
        )
        for name in policy.principals
        if house.principal(name).credentials.exists()
    }
    worker = _first_worker(house)
    if worker is not None:
        tls = house.tls_files(worker, running.url)
        found |= {Kind.BUS: (worker.bus, tls), Kind.RECORDS: (worker.records, tls)}
    shown = house.tls_files(worker, running.url) if worker is not None else TlsFiles()
    return _examined(running.url, policy, found | {name: (given[name], shown) for name in given})


def examine_given(where: Given, given: Mapping[str, Path]) -> Examined:
    """Everybody whose credentials were named, at any gateway.

    Raises:
        ConfigurationError: the policy cannot be read, or a name is not in it.
    """
    policy = read_policy_file(where.policy)
    return _examined(where.url, policy, {name: (path, where.tls) for name, path in given.items()})


def read_given(words: Iterable[str]) -> dict[str, Path]:
    """`NAME=FILE` as people write it; `ConfigurationError` shows the one that is none."""
    found: dict[str, Path] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not (name and equals and path):
            raise ConfigurationError(f"--credentials {word}: expected NAME=FILE")
        found[name] = Path(path)
    return found


def _examined(url: str, policy: Policy, found: Mapping[str, tuple[Path, TlsFiles]]) -> Examined:
    kinds = {name: Kind(principal.kind) for name, principal in sorted(policy.principals.items())}
    wanted = kinds | {str(kind): kind for kind in WORKERS}
    for name in found:
        if name not in wanted:
            raise ConfigurationError(
                f"{name!r} is neither a principal of the policy nor"
                f" {' nor '.join(WORKERS)}{did_you_mean(name, wanted)}"
            )
    roles = [
        Role(kind, name, _settings(url, *found[name]))
        for name, kind in wanted.items()
        if name in found
    ]
    missing = [
        (kind, name, _GIVE.format(name)) for name, kind in wanted.items() if name not in found
    ]
    return Examined(url, policy, tuple(roles), tuple(missing))


def _settings(url: str, credentials: Path, tls: TlsFiles) -> ConnectionSettings:
    ca, certificate, key = tls
    return ConnectionSettings(
        url=url, credentials=credentials, tls_ca=ca, tls_cert=certificate, tls_key=key
    )


def _first_worker(house: House) -> WorkerFiles | None:
    """One worker stands for all of them: they have the same permissions."""
    slots = (house.worker(folder.name) for folder in sorted(house.workers.iterdir()))
    return next((files for files in slots if files.bus.exists() and files.records.exists()), None)
