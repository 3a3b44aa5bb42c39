"""The broker's lock, to be looked at: who may publish and subscribe where, in few words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mallku_broker.accounts import (
    Permissions,
    User,
)
from mallku_broker.files import read_private_text
from mallku_broker.nkeys import public_nkey
from mallku_broker.permissions import (
    Widening,
    principal_permissions,
    worker_bus,
    worker_records,
)
from mallku_broker.widening import widenings
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.policy import Policy
from mallku_deploy.house import House
from mallku_deploy.reading import read_policy_file
from mallku_deploy.server import listed


@dataclass(frozen=True, slots=True)
class Lock:
    """What one principal, or every worker, may do at the broker, and where that is too much."""

    name: str
    kind: str
    permissions: Permissions
    widenings: tuple[Widening, ...]


def locks(policy: Policy) -> list[Lock]:
    """Every principal of a policy, and the two connections of a worker."""
    wider = widenings(policy)
    found = [
        Lock(
            name,
            principal.kind,
            principal_permissions(policy, name)[0],
            tuple(each for each in wider if each.principal == name),
        )
        for name, principal in sorted(policy.principals.items())
    ]
    workers = (("bus", worker_bus()), ("records", worker_records()))
    return [*found, *(Lock(f"worker ({name})", "worker", lock, ()) for name, lock in workers)]


def house_policy(house: House) -> Policy:
    """The policy that was in force last in a house, with the nkeys that lie there."""
    if not house.adopted.exists():
        raise ConfigurationError(f"{house.root}: no policy was in force here; name a file")
    policy = read_policy_file(house.adopted)
    principals = {
        name: principal.model_copy(
            update={"nkey": principal.nkey or _nkey(house.principal(name).credentials)}
        )
        for name, principal in policy.principals.items()
    }
    return policy.model_copy(update={"principals": principals})


def house_users(house: House, policy: Policy) -> tuple[User, ...]:
    """Who may connect to the broker of a house: those of the policy, and the workers."""
    slots = (house.worker(folder.name) for folder in sorted(house.workers.iterdir()))
    return listed(policy, (files for files in slots if files.bus.exists()))


def shortened(subjects: Iterable[str]) -> list[str]:
    """Subjects that differ in one token alone as one line, with that token's values in braces.

    A queue stands behind its subjects.
    """
    queues: dict[str, list[list[str]]] = {}
    for subject in dict.fromkeys(subjects):
        name, _, queue = subject.partition(" ")
        queues.setdefault(queue, []).append(name.split("."))
    return [
        ".".join(tokens) + (f" (queue {queue})" if queue else "")
        for queue, lines in queues.items()
        for tokens in _shortened(lines)
    ]


def _shortened(lines: list[list[str]]) -> list[list[str]]:
    for place in reversed(range(max(map(len, lines)))):
        lines = _merged(lines, place)
    return lines


def _merged(lines: list[list[str]], place: int) -> list[list[str]]:
    groups: dict[tuple[str, ...], list[list[str]]] = {}
    for tokens in lines:
        rest = (*tokens[:place], "", *tokens[place + 1 :]) if place < len(tokens) else (*tokens,)
        groups.setdefault(rest, []).append(tokens)
    return [_brace(group, place) for group in groups.values()]


def _brace(group: list[list[str]], place: int) -> list[str]:
    first = group[0]
    if len(group) == 1:
        return first
    values = ",".join(tokens[place] for tokens in group)
    return [*first[:place], "{" + values + "}", *first[place + 1 :]]


def _nkey(credentials: Path) -> str | None:
    if not credentials.exists():
        return None
    return public_nkey(read_private_text(credentials, "NATS credentials"))
