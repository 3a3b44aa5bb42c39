"""The NATS server of a house: users and permissions out of its policy, and its streams."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from mallku_broker.accounts import (
    Account,
    User,
)
from mallku_broker.configuration import (
    ServerConfiguration,
)
from mallku_broker.connection import ConnectionSettings, GatewayConnection, connect
from mallku_broker.files import read_private_text
from mallku_broker.jobs import ensure_consumers
from mallku_broker.nkeys import public_nkey
from mallku_broker.permissions import compile_policy, worker_bus, worker_records
from mallku_broker.streams import StreamSettings, bring_about, definitions
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.policy import Policy
from mallku_contracts.subjects import inbox_prefix
from mallku_deploy.certificates import server_tls
from mallku_deploy.encryption import store_encryption
from mallku_deploy.furnish import Furnished
from mallku_deploy.house import WorkerFiles


def server_configuration(
    furnished: Furnished, port: int, *, tls: bool = False, sync_every_write: bool = False
) -> ServerConfiguration:
    """What the server is told: the policy's principals and the workers may connect, nobody else."""
    house = furnished.house
    return ServerConfiguration(
        store=house.streams,
        users=users(furnished),
        port=port,
        tls=server_tls(house) if tls else None,
        sync_every_write=sync_every_write,
        encryption=store_encryption(house),
    )


def users(furnished: Furnished, revoked: Container[str] = ()) -> tuple[User, ...]:
    """Who may connect.

    A caller that was revoked still may: workers refuse each of its commands, with a code and on the
    trail. Of the others only the broker knows, so it shuts them out.
    """
    return listed(furnished.policy, furnished.workers, revoked)


def listed(
    policy: Policy, worker_files: Iterable[WorkerFiles], revoked: Container[str] = ()
) -> tuple[User, ...]:
    """As `users`; out of a policy and the files of workers alone."""
    workers = (user for files in worker_files for user in _worker_users(files))
    allowed = (
        user
        for user in compile_policy(policy)
        if policy.principals[user.name].kind == "caller"
        or (user.name not in revoked and user.name not in policy.revoked)
    )
    return (*allowed, *workers)


async def ensure_streams(furnished: Furnished, url: str, settings: StreamSettings) -> list[str]:
    """Create and improve streams and buckets, as the house's administrator; nothing is lost by it.

    Returns:
        Where what is there still differs from what should be, in words.

    Raises:
        ConfigurationError: the policy has no administrator whose key lies in the house.
        GatewayUnreachable: the server does not answer.
    """
    connection = await connect_as(furnished, administrator(furnished), url)
    try:
        drifts = [str(drift) for drift in await bring_about(connection, definitions(settings))]
        return drifts + await ensure_consumers(connection)
    finally:
        await connection.close()


async def connect_as(furnished: Furnished, principal: str, url: str) -> GatewayConnection:
    """A connection to the server as one of the principals whose credentials lie in the house."""
    files = furnished.house.principal(principal)
    ca, certificate, key = furnished.house.tls_files(files, url)
    settings = ConnectionSettings(
        url=url, credentials=files.credentials, tls_ca=ca, tls_cert=certificate, tls_key=key
    )
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
