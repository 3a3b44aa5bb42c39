"""Who administers a gateway from the command line: an environment, a file, or a house.

The variables are those of a client; `MALLKU_KEY_FILE` names the administrator's signing key.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mallku_broker.administrators import load_administrators
from mallku_broker.connection import GatewayConnection, connect
from mallku_broker.files import load_signing_key
from mallku_client.composition import broker_settings
from mallku_client.settings import ClientSettings
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.keys import SigningKey
from mallku_contracts.subjects import inbox_prefix
from mallku_contracts.trust import Keys
from mallku_deploy.auditing.auditor import house_of_another
from mallku_deploy.environment import read_env_file, settings_in
from mallku_deploy.house import House, default_house

_PURPOSE = "administrators connect and sign with it; name a running `up` with --data DIR instead"


@dataclass(frozen=True, slots=True)
class Administration:
    """A connection as an administrator, the key to sign with, and whose signatures count."""

    connection: GatewayConnection
    key: SigningKey = field(repr=False)
    administrators: Keys


def find_administrator(env_file: Path | None, data: Path | None) -> ClientSettings:
    """The administrator's settings: from a file, from a running `up` (`data`), or ours.

    The environment that `up` writes is a caller's: it means the administrator of the same house.

    Raises:
        ConfigurationError: naming what is missing, and the ways to say it.
    """
    if env_file is not None:
        return _known(settings_in(os.environ | read_env_file(env_file)))
    settings = settings_in(os.environ)
    if data is None and (settings.principal or settings.url):
        return _known(settings)
    return _of_house(House(data.absolute()) if data else default_house())


@asynccontextmanager
async def administer(settings: ClientSettings) -> AsyncGenerator[Administration]:
    """Connect as an administrator.

    Raises:
        ConfigurationError: a setting is missing, or the key is not one of an administrator.
        GatewayUnreachable: the broker does not answer.
    """
    key = load_signing_key(settings.require("key_file", _PURPOSE))
    trust_file: Path = settings.require("trust_file", "it names the administrators")
    administrators = load_administrators(trust_file)
    if key.kid not in administrators:
        raise ConfigurationError(
            f"{settings.key_file} is not the key of an administrator: {trust_file} names"
            f" {', '.join(sorted({each.kid for each in administrators.values()})) or 'none'}"
        )
    connection = await connect_by(settings)
    try:
        yield Administration(connection, key, administrators)
    finally:
        await connection.close()


async def connect_by(settings: ClientSettings) -> GatewayConnection:
    """A connection to the broker with the settings of a client, whoever that is.

    Raises: as `administer`.
    """
    principal: str = settings.require("principal", _PURPOSE)
    settings.require("url", _PURPOSE)
    where = broker_settings(settings)
    prefix = inbox_prefix(principal)
    return await connect(where, name=f"mallku-gateway.{principal}", inbox_prefix=prefix)


def _known(settings: ClientSettings) -> ClientSettings:
    house = house_of_another("administrator", settings)
    return settings if house is None else _of_house(house)


def _of_house(house: House) -> ClientSettings:
    from mallku_deploy.tenancy import find

    running = find(house)
    if running is None:
        raise ConfigurationError(
            f"no gateway runs in {house.root}: start `mallku-gateway up`, or name another with"
            " --data DIR or --env-file FILE"
        )
    principal = _administrator(house)
    ca, certificate, key = house.tls_files(house.principal(principal), running.url)
    return ClientSettings(
        url=running.url,
        principal=principal,
        key_file=house.administrator,
        trust_file=house.trust,
        nats_credentials=house.principal(principal).credentials,
        tls_ca_file=ca,
        tls_cert_file=certificate,
        tls_key_file=key,
    )


def _administrator(house: House) -> str:
    from mallku_deploy.reading import read_policy_file

    for name, principal in read_policy_file(house.adopted).principals.items():
        if principal.kind == "administrator" and house.principal(name).credentials.exists():
            return name
    raise ConfigurationError(f"{house.adopted} has no administrator whose credentials lie here")
