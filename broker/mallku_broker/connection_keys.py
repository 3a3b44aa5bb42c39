"""Whose connection an nkey is: what the broker was configured with, for those who hear of nkeys.

A file of the gateway's own, written by whoever configures the broker, as JSON:
`{"principals": {NAME: NKEY}, "workers": {NAME: NKEY}}`; of workers the key in RECORDS.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mallku_broker.files import read_text, write_private_text
from mallku_broker.nkeys import public_nkey
from mallku_contracts.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class ConnectionKeys:
    """Names by public nkeys."""

    principals: Mapping[str, str] = field(default_factory=dict[str, str])
    workers: frozenset[str] = frozenset()


def write_connection_keys(
    path: Path, principals: Mapping[str, str], workers: Mapping[str, str]
) -> None:
    """Write who has which nkey, by name; raises `ConfigurationError` when it cannot be written."""
    document = {"principals": dict(principals), "workers": dict(workers)}
    write_private_text(path, json.dumps(document, indent=2, sort_keys=True) + "\n")


def read_connection_keys(path: Path) -> ConnectionKeys:
    """What `write_connection_keys` wrote.

    Raises:
        ConfigurationError: the file cannot be read, or holds something else.
    """
    try:
        document = json.loads(read_text(path, "file of connection keys"))
        principals, workers = _names(document["principals"]), _names(document["workers"])
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(
            f"file of connection keys {path}: expected"
            ' {"principals": {NAME: NKEY}, "workers": {NAME: NKEY}}'
        ) from None
    named = {nkey: name for name, nkey in principals.items()}
    return ConnectionKeys(named, frozenset(workers.values()))


def own_key(credentials: Path) -> str:
    """The public nkey of a connection with this file, which holds a seed or NATS credentials.

    Raises:
        ConfigurationError: the file cannot be read, or has no seed.
    """
    lines = read_text(credentials, "credentials file").splitlines()
    seeds = [line.strip() for line in lines if line.strip().startswith("SU")]
    if not seeds:
        raise ConfigurationError(f"credentials file {credentials}: there is no user's seed in it")
    return public_nkey(seeds[-1])


def _names(document: Any) -> dict[str, str]:
    named = {name: nkey for name, nkey in document.items() if isinstance(nkey, str)}
    if len(named) != len(document):
        raise TypeError
    return named
