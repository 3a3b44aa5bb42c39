"""The NATS server of a house: users and permissions out of its policy, and its streams."""

from __future__ import annotations

from collections.abc import Iterator

from mallku_broker.configuration import Account, ServerConfiguration, User
from mallku_broker.connection import ConnectionSettings, GatewayConnection, connect
from mallku_broker.files import read_private_text
from mallku_broker.nkeys import public_nkey
from mallku_broker.permissions import compile_policy, worker_bus, worker_records
from mallku_broker.streams import StreamSettings, definitions, ensure
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.subjects import inbox_prefix
from mallku_deploy.furnish import Furnished
from mallku_deploy.house import WorkerFiles


def server_configuration(furnished: Furnished, port: int) -> ServerConfiguration:
    """What the server is told: the policy's principals and the workers may connect, nobody else."""
    workers = (user for files in furnished.workers for user in _worker_users(files))
    return ServerConfiguration(
        store=furnished.house.streams,
        users=(*compile_policy(furnished.policy).users, *workers),
        port=port,
    )


async def ensure_streams(furnished: Furnished, url: str, settings: StreamSettings) -> list[str]:
    """Create the streams and buckets that are missing, as the house's administrator.

    Returns:
        Where what is there differs from what should be, in words.

    Raises:
        ConfigurationError: the policy has no administrator whose key lies in the house.
        GatewayUnreachable: the server does not answer.
    """
    connection = await connect_as(furnished, administrator(furnished), url)
    try:
        drifts = await ensure(connection, definitions(settings))
    finally:
        await connection.close()
    return [str(drift) for drift in drifts]


async def connect_as(furnished: Furnished, principal: str, url: str) -> GatewayConnection:
    """A connection to the server as one of the principals whose credentials lie in the house."""
    files = furnished.house.principal(principal)
    settings = ConnectionSettings(url=url, credentials=files.credentials)
    return await connect(
        settings, name=f"mallku-gateway.{principal}", inbox_prefix=inbox_prefix(principal)
    )


def administrator(furnished: Furnished) -> str:
    """The principal that looks after streams."""
    for name, principal in furnished.policy.principals.items():
        if principal.kind == "administrator" and furnished.house.principal(name).folder.exists():
            return name
    raise ConfigurationError(
        f"{furnished.house.policy}: `up` needs a principal of kind administrator without an nkey"
        " of its own, to look after the streams"
    )


def _worker_users(files: WorkerFiles) -> Iterator[User]:
    for name, path, account, permissions in (
        (f"{files.slot}-bus", files.bus, Account.MALLKU, worker_bus()),
        (f"{files.slot}-records", files.records, Account.RECORDS, worker_records()),
    ):
        nkey = public_nkey(read_private_text(path, "NATS credentials"))
        yield User(name, nkey, account, permissions)
