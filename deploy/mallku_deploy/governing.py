"""What administrators do on the command line: push a policy, compare one, revoke, look at locks."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mallku_broker.accounts import (
    User,
    accounts_text,
)
from mallku_broker.buckets import Conflict
from mallku_broker.files import read_text
from mallku_broker.permissions import compile_policy
from mallku_client.settings import ClientSettings
from mallku_contracts.documents import (
    read_flags_document,
    read_policy_document,
    read_revocations,
)
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.flags import Flags
from mallku_contracts.governed import DocumentError, Kind
from mallku_contracts.keys import KeyFormatError, PublicKey
from mallku_contracts.policy import CompiledPolicy
from mallku_contracts.revocation import RevocationError, RevocationList
from mallku_contracts.wording import did_you_mean
from mallku_deploy.administration import Administration, administer
from mallku_deploy.differences import Comparison, compare
from mallku_deploy.house import House, default_house
from mallku_deploy.locks import Lock, house_policy, house_users, locks
from mallku_deploy.pushing import Outcome, push, standing
from mallku_deploy.reading import check_flags_file, parse_policy, read_policy_file
from mallku_deploy.stretch import Stretch, read_since, read_stretch

TRIES: Final = 3
"""How often a change is made again when somebody else was quicker."""

_MS_PER_S: Final = 1_000


@dataclass(frozen=True, slots=True)
class Compared:
    """The versions that were compared, and what came of it."""

    now: int
    then: int
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Locks:
    """The broker's lock for each principal, and who of them can connect with a known nkey."""

    version: int
    locks: list[Lock]
    users: tuple[User, ...]


async def push_policy(file: Path, settings: ClientSettings) -> Outcome:
    """Check a policy, sign it, and wait until all workers run by it.

    Raises:
        ConfigurationError: it does not validate (`file:line:column: what`), its version is not
            higher than the one in force, or the settings do not make an administrator.
        Conflict: somebody else pushed one in the meantime.
        GatewayUnreachable: the broker does not answer.
    """
    text = read_text(file, "policy file")
    policy = parse_policy(text, file)
    version = policy.version
    accounts_text(compile_policy(policy))  # what no broker could take is refused here
    return await _push_file(Kind.POLICY, file, text, version, settings)


async def push_flags(file: Path, settings: ClientSettings) -> Outcome:
    """Check a document of flags, sign it, and wait until all workers run by it.

    Raises: as `push_policy`.
    """
    text = read_text(file, "file of flags")
    flags, _ = check_flags_file(file, text)
    return await _push_file(Kind.FLAGS, file, text, flags.version, settings)


async def flags_in_force(settings: ClientSettings) -> tuple[str, Flags] | None:
    """The text and the values of the flags that workers run by; None before the first.

    Raises: as `push_policy`.
    """
    async with administer(settings) as administration:
        document = (await standing(administration, Kind.FLAGS)).document
    return None if document is None else (document.text, read_flags_document(document))


async def _push_file(
    kind: Kind, file: Path, text: str, version: int, settings: ClientSettings
) -> Outcome:
    async with administer(settings) as administration:
        now = await standing(administration, kind)
        if version < now.lowest:
            raise ConfigurationError(
                f"{file}: version {version} was in force already or is below one that was; write"
                f" `version: {now.lowest}` or higher into it"
            )
        return await _push(administration, kind, text, version, now.revision)


async def revoke_names(
    names: Iterable[str], reason: str | None, settings: ClientSettings
) -> Outcome:
    """Put names on the revocation list, or off it where there is no reason.

    Raises:
        ConfigurationError: a name is neither a key id nor a principal, or is not on the list.
        Conflict: others changed the list each time it was tried.
        GatewayUnreachable: the broker does not answer.
    """
    wanted = list(names)
    async with administer(settings) as administration:
        if reason is not None:
            await _refuse_unknown(administration, wanted)
        for last in (False,) * (TRIES - 1) + (True,):
            try:
                return await _revoke(administration, wanted, reason)
            except Conflict:
                if last:
                    raise
    raise AssertionError("the last try returns or raises")


async def compare_policy(file: Path, stretch: Stretch, settings: ClientSettings) -> Compared:
    """Decide the commands of a stretch of the trail under the policy in force and under another.

    Raises: as `push_policy`.
    """
    then = CompiledPolicy(read_policy_file(file))
    async with administer(settings) as administration:
        in_force = (await standing(administration, Kind.POLICY)).document
        if in_force is None:
            raise ConfigurationError("no policy is in force: there is nothing to compare with")
        now = CompiledPolicy(read_policy_document(in_force))
        found = Comparison()
        async for record in read_stretch(
            administration.connection, stretch, kinds=("intent", "denied")
        ):
            await compare(found, record, now, then)
    return Compared(now.version, then.version, found)


def find_stretch(since: str | None, last: int | None) -> Stretch:
    """The stretch that somebody asked for; `ConfigurationError` when it is no time, or two."""
    if since is not None and last is not None:
        raise ConfigurationError("--since and --last both say where to begin; give one of them")
    return Stretch(None if since is None else read_since(since, datetime.now(UTC)), last)


def find_locks(file: Path | None, data: Path | None) -> Locks:
    """The broker's lock that a policy file asks for, or that is in force in a house.

    Raises:
        ConfigurationError: the file does not validate, or there is no house.
    """
    if file is not None:
        policy = read_policy_file(file)
        return Locks(policy.version, locks(policy), compile_policy(policy))
    house = House(data.absolute()) if data else default_house()
    policy = house_policy(house)
    return Locks(policy.version, locks(policy), house_users(house, policy))


async def _revoke(administration: Administration, names: list[str], reason: str | None) -> Outcome:
    now = await standing(administration, Kind.KEYS)
    entries = read_revocations(now.document) if now.document else RevocationList()
    try:
        if reason is None:
            changed = entries.without(names)
        else:
            changed = entries.with_names(names, reason, int(time.time() * _MS_PER_S))
    except RevocationError as error:
        raise ConfigurationError(str(error)) from None
    text = changed.to_text()
    return await _push(administration, Kind.KEYS, text, now.lowest, now.revision)


async def _push(
    administration: Administration, kind: Kind, text: str, version: int, revision: int
) -> Outcome:
    try:
        return await push(administration, kind, text, version, revision)
    except DocumentError as error:
        raise ConfigurationError(f"it cannot be signed: {error}") from None


async def _refuse_unknown(administration: Administration, names: list[str]) -> None:
    """A name with a typo in it would be revoked to no effect."""
    in_force = (await standing(administration, Kind.POLICY)).document
    known = read_policy_document(in_force).principals if in_force else {}
    for name in names:
        if name not in known and not _is_key_id(name):
            raise ConfigurationError(
                f"{name!r} is neither a principal of the policy in force nor a key id"
                f"{did_you_mean(name, known)}"
            )


def _is_key_id(name: str) -> bool:
    """A key id has the form of 32 bytes in base64url, as the x of a JWK does (RFC 7638)."""
    try:
        PublicKey.from_jwk({"kty": "OKP", "crv": "Ed25519", "x": name})
    except KeyFormatError:
        return False
    return True
