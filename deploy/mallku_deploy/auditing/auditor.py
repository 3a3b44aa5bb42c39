"""Who reads the trail, or looks on, from the command line: an environment, a file, or a house."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mallku_client.settings import ClientSettings
from mallku_contracts.errors import ConfigurationError
from mallku_deploy.environment import read_env_file, settings_in
from mallku_deploy.house import House, default_house
from mallku_deploy.reading import read_policy_file

if TYPE_CHECKING:  # imported when the trail is read
    from mallku_client.trail import AuditReader

_HOUSE_OF_CREDENTIALS: Final = 2
"""`HOUSE/principals/NAME/nats.nk`: the house is so many folders above the file's."""


def find_auditor(
    env_file: Path | None, data: Path | None, principal: str | None = None
) -> ClientSettings:
    """The auditor's settings; as `find_kind`."""
    return find_kind("auditor", env_file, data, principal)


def find_kind(
    kind: str, env_file: Path | None, data: Path | None, principal: str | None = None
) -> ClientSettings:
    """Settings of one of a kind: from a file, from a running `up` (`data`), or ours.

    In a house it is `principal`, else the first of that kind whose credentials lie there. The
    environment that `up` writes is a caller's: it means the one of that kind in the same house.

    Raises:
        ConfigurationError: naming what is missing, and the ways to say it.
    """
    if env_file is not None:
        return _known(kind, settings_in(os.environ | read_env_file(env_file)))
    if data is None and principal is None and (settings := settings_in(os.environ)).principal:
        return _known(kind, settings)
    return _of_house(kind, House(data.absolute()) if data else default_house(), principal)


def house_of_another(kind: str, settings: ClientSettings) -> House | None:
    """The house of a principal who is not of this kind, when its own environment was written there.

    The environment that `up` writes is a caller's; others of the same house are found by it.
    """
    name, credentials = settings.principal, settings.nats_credentials
    if name is None or credentials is None or len(credentials.parents) <= _HOUSE_OF_CREDENTIALS:
        return None
    house = House(credentials.parents[_HOUSE_OF_CREDENTIALS])
    if house.principal(name).credentials != credentials or not house.adopted.exists():
        return None
    policy = read_policy_file(house.adopted)
    is_another = name in policy.principals and policy.principals[name].kind != kind
    return house if is_another else None


def _known(kind: str, settings: ClientSettings) -> ClientSettings:
    """Whoever the settings name, or the auditor of the house in which a caller's key lies."""
    house = house_of_another(kind, settings)
    return settings if house is None else _of_house(kind, house, None)


async def open_trail(settings: ClientSettings) -> AuditReader:
    """Connect; what interrupts reading is said on standard error.

    Raises:
        ConfigurationError: a setting is missing, or who speaks may not read the trail.
        GatewayUnreachable: the broker does not answer.
    """
    from mallku_client.trail import AuditReader
    from mallku_contracts.errors import GatewayUnreachable
    from mallku_deploy.terminal import say_aside

    reader = await AuditReader.connect(settings=settings, troubled=say_aside)
    try:
        await reader.stream_info()
    except GatewayUnreachable as error:
        await reader.close()
        raise ConfigurationError(
            f"{settings.principal!r} gets no answer about the trail: only principals of kind"
            " auditor do; name one with --env-file FILE, or a running `up` with --data DIR"
        ) from error
    except BaseException:
        await reader.close()
        raise
    return reader


def _of_house(kind: str, house: House, principal: str | None) -> ClientSettings:
    from mallku_deploy.tenancy import find

    running = find(house)
    if running is None:
        raise ConfigurationError(
            f"no gateway runs in {house.root}: start `mallku-gateway up`, or name another with"
            " --data DIR or --env-file FILE"
        )
    environment = house.environment(principal or _first(kind, house), running.url)
    return ClientSettings.from_environment(environment)


def _first(kind: str, house: House) -> str:
    for name, principal in read_policy_file(house.adopted).principals.items():
        if principal.kind == kind and house.principal(name).credentials.exists():
            return name
    raise ConfigurationError(f"{house.adopted} has no {kind} whose credentials lie here")
