"""Puts into the house what is missing there; what is there is used again and never replaced."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.resources import files as resources
from pathlib import Path

from mallku_broker.administrators import load_administrators
from mallku_broker.connection_keys import write_connection_keys
from mallku_broker.files import (
    load_signing_key,
    make_private_folder,
    read_private_text,
    read_text,
    write_private_text,
)
from mallku_broker.nkeys import new_nkey, public_nkey
from mallku_broker.trust import load_trust
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.keys import SEED_BYTES, PublicKey, SigningKey
from mallku_contracts.policy import Policy, Principal
from mallku_contracts.tokens import COMMAND_AUDIENCE, REPLY_AUDIENCE
from mallku_contracts.trail.digests import new_key_text
from mallku_deploy.house import ISSUER, House, WorkerFiles, link_once
from mallku_deploy.issuer import Issuer, TokenOrder
from mallku_deploy.reading import parse_policy


@dataclass(frozen=True, slots=True)
class Furnished:
    """A house with everything in it that a start needs.

    Attributes:
        administrator: Signs policies and revocations.
        text: The policy as people wrote it: the policy file's, or the one in force where that has
            a higher version.
        policy: What it says, with the nkey of every principal filled in.
        tokens: The token files that have to be kept fresh.
    """

    house: House
    issuer: Issuer
    administrator: SigningKey
    text: str
    policy: Policy
    workers: tuple[WorkerFiles, ...]
    tokens: tuple[TokenOrder, ...]


def furnish(house: House, workers: int) -> Furnished:
    """Make folders, issuer, trust, policy and keys where they are missing.

    Raises:
        ConfigurationError: naming the file that cannot be read, written or used.
    """
    _make_folders(house)
    issuer = Issuer(ISSUER, _signing_key(house.issuer))
    administrator = _signing_key(house.administrator)
    _furnish_trust(house, issuer, administrator.public)
    _once(house.digest_key, new_key_text)
    text, written = choose_policy(house)
    policy, callers = _furnish_principals(house, written)
    slots = tuple(house.worker(f"worker-{number}") for number in range(1, workers + 1))
    replies = [_furnish_worker(slot) for slot in slots]
    _retire(house, keep={slot.slot for slot in slots})
    _write_keys(house, policy)
    return Furnished(house, issuer, administrator, text, policy, slots, (*callers, *replies))


def furnish_policy(furnished: Furnished, text: str, policy: Policy) -> Furnished:
    """The same house under another policy, with keys for those principals that are new in it."""
    keyed, callers = _furnish_principals(furnished.house, policy)
    _write_keys(furnished.house, keyed)
    replies = [file for file in furnished.tokens if file.audience == REPLY_AUDIENCE]
    return replace(furnished, text=text, policy=keyed, tokens=(*callers, *replies))


def _make_folders(house: House) -> None:
    folders = (
        house.root,
        house.principals,
        house.workers,
        house.server,
        house.store,
        house.retired.parent,
        house.retired,
    )
    for folder in folders:
        make_private_folder(folder)


def _furnish_trust(house: House, issuer: Issuer, administrator: PublicKey) -> None:
    _once(house.trust, lambda: issuer.trust.to_json(administrator))
    if load_trust(house.trust).key(issuer.name, issuer.key.kid) is None:
        raise ConfigurationError(
            f"trust file {house.trust}: it does not trust {house.issuer};"
            " bring the right one back, or remove it to have it made again"
        )
    administrators = load_administrators(house.trust)
    if not administrators:  # made before there were any
        document = json.loads(read_text(house.trust, "trust file"))
        document["administrators"] = {"keys": [administrator.jwk()]}
        text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)
        write_private_text(house.trust, text + "\n")
    elif administrator.kid not in administrators:
        raise ConfigurationError(
            f"trust file {house.trust}: {house.administrator} is not among its administrators;"
            " bring the right one back, or add its public key"
        )


def choose_policy(house: House) -> tuple[str, Policy]:
    """The policy that people edit, or the one that was in force last where its version is higher.

    Raises:
        ConfigurationError: it does not validate, or was changed without a higher version.
    """
    default = resources("mallku_deploy").joinpath("default_policy.yaml")
    _once(house.policy, lambda: default.read_text("utf-8"))
    text = read_text(house.policy, "policy file")
    policy = parse_policy(text, house.policy)
    if not house.adopted.exists():
        return text, policy
    former_text = read_text(house.adopted, "policy file")
    former = parse_policy(former_text, house.adopted)
    if policy.version == former.version and text != former_text:
        raise ConfigurationError(same_version(house, former.version))
    return (former_text, former) if former.version > policy.version else (text, policy)


def same_version(house: House, version: int) -> str:
    """What to tell somebody who changed the policy file and left its version as it was."""
    return (
        f"{house.policy}: version {version} is in force with another text, and versions only go"
        f" up; write `version: {version + 1}` into the changed file. The text in force:"
        f" {house.adopted}"
    )


def _furnish_principals(house: House, policy: Policy) -> tuple[Policy, list[TokenOrder]]:
    """The policy with every nkey, and the tokens of those callers whose keys lie here."""
    principals: dict[str, Principal] = {}
    tokens: list[TokenOrder] = []
    for name, principal in policy.principals.items():
        if principal.nkey is not None:  # they look after their keys themselves
            principals[name] = principal
            continue
        files = house.principal(name)
        make_private_folder(files.folder)
        nkey = _nkey(files.credentials)
        principals[name] = principal.model_copy(update={"nkey": nkey})
        if principal.kind in {"caller", "door"}:
            key = _signing_key(files.key).public
            link_once(files.trust, house.trust)
            roles = frozenset(principal.roles)
            tokens.append(TokenOrder(files.token, name, roles, COMMAND_AUDIENCE, key))
    return policy.model_copy(update={"principals": principals}), tokens


def _furnish_worker(files: WorkerFiles) -> TokenOrder:
    make_private_folder(files.folder)
    _nkey(files.bus)
    _nkey(files.records)
    key = _signing_key(files.key).public
    return TokenOrder(files.token, files.slot, frozenset(), REPLY_AUDIENCE, key)


def _write_keys(house: House, policy: Policy) -> None:
    """Let workers know whose connections there are: the policy that is pushed does not say."""
    listed = policy.principals.items()
    principals = {name: each.nkey for name, each in listed if each.nkey is not None}
    slots = [house.worker(folder.name) for folder in sorted(house.workers.iterdir())]
    workers = {slot.slot: _nkey(slot.records) for slot in slots if slot.key.exists()}
    write_connection_keys(house.connection_keys, principals, workers)


def _retire(house: House, keep: Iterable[str]) -> None:
    """Keep the public key of each worker that is no more, and nothing that it could act with."""
    for folder in sorted(house.workers.iterdir()):
        files = house.worker(folder.name)
        if folder.name in keep or not files.key.exists():
            continue
        public = load_signing_key(files.key).public
        write_private_text(house.retired / f"{public.kid}.json", json.dumps(public.jwk()) + "\n")
        tls = (files.certificate, files.certificate_key)
        for secret in (files.key, files.token, files.bus, files.records, *tls):
            secret.unlink(missing_ok=True)
        folder.rmdir()


def _signing_key(path: Path) -> SigningKey:
    _once(path, lambda: SigningKey(secrets.token_bytes(SEED_BYTES)).to_pem())
    return load_signing_key(path)


def _nkey(path: Path) -> str:
    _once(path, lambda: new_nkey()[0] + "\n")
    return public_nkey(read_private_text(path, "NATS credentials"))


def _once(path: Path, make: Callable[[], str]) -> None:
    if not path.exists():
        write_private_text(path, make())
