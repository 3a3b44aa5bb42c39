"""The certificates of a house: made where they are missing, renewed in time, taken over at once.

Who wants certificates of an authority of their own puts `ca.pem`, `server.pem` and `server.key`
into the house's `tls` folder, and `tls.pem` with `tls.key` into the folders of principals and
workers. Without the authority's key nothing is issued here; what changes is still taken over.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from mallku_broker.configuration import ServerTls
from mallku_broker.files import (
    make_private_folder,
    read_private_text,
    read_text,
    write_private_text,
)
from mallku_broker.server import EmbeddedServer
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from mallku_deploy.authority import Authority, new_authority, new_key
from mallku_deploy.events import Announce, CertificatesRenewed, NotYet
from mallku_deploy.furnish import Furnished
from mallku_deploy.house import House, link_once

CERTIFICATE_LOOK_S: Final = 2.0
"""Between two looks at the certificates while `up` runs, seconds."""


def server_tls(house: House) -> ServerTls:
    """What the server of the house shows, and whose certificates its clients have to show."""
    return ServerTls(house.server_certificate, house.server_key, house.authority)


def furnish_certificates(furnished: Furnished) -> None:
    """Make what is missing, and renew what will soon be over: server, principals and workers.

    Raises:
        ConfigurationError: a file cannot be used, or is missing and nobody here can make it.
    """
    house, now = furnished.house, dt.datetime.now(dt.UTC)
    make_private_folder(house.tls)
    authority = _authority(house, now)
    if authority is None:
        _require(house)
        return
    _keep_good(authority, house.server_certificate, house.server_key, authority.server, now)
    for name, certificate, key in _clients(furnished):

        def issue(key_pem: str, at: dt.datetime, name: str = name) -> str:
            return authority.client(name, key_pem, at)

        _keep_good(authority, certificate, key, issue, now)
    for files in map(house.principal, furnished.policy.principals):
        if files.certificate.exists():
            link_once(files.ca, house.authority)


async def keep_certificates(
    furnished: Callable[[], Furnished], server: EmbeddedServer, announce: Announce
) -> None:
    """Renew in time until cancelled; when the server's files have changed it reads them again."""
    house = furnished().house
    shown = _shown(house)
    while True:
        await asyncio.sleep(CERTIFICATE_LOOK_S)
        try:
            await asyncio.to_thread(furnish_certificates, furnished())
            if (now := _shown(house)) != shown and server.pid is not None:
                await server.reload()
                shown = now
                announce(CertificatesRenewed())
        except (ConfigurationError, GatewayUnreachable) as error:
            announce(NotYet("renewing certificates", error.message, CERTIFICATE_LOOK_S))


def _authority(house: House, now: dt.datetime) -> Authority | None:
    """The house's own authority; None when the house has somebody else's certificate."""
    if not house.authority.exists() and not house.authority_key.exists():
        key = new_key()
        write_private_text(house.authority_key, key)
        write_private_text(house.authority, new_authority(key, now))
    if not house.authority_key.exists():
        return None
    if not house.authority.exists():  # the first start ended between the two
        key = read_private_text(house.authority_key, "authority's key file")
        write_private_text(house.authority, new_authority(key, now))
    try:
        return Authority.read(
            read_text(house.authority, "CA file"),
            read_private_text(house.authority_key, "authority's key file"),
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"{house.tls}: {error.message}") from None


def _require(house: House) -> None:
    for path in (house.authority, house.server_certificate):
        read_text(path, "TLS file")
    read_private_text(house.server_key, "TLS key file")


def _keep_good(
    authority: Authority,
    certificate: Path,
    key: Path,
    issue: Callable[[str, dt.datetime], str],
    now: dt.datetime,
) -> None:
    if not key.exists():
        write_private_text(key, new_key())
    key_pem = read_private_text(key, "TLS key file")
    held = read_text(certificate, "certificate file") if certificate.exists() else ""
    try:
        if not authority.is_good(held, key_pem, now):
            write_private_text(certificate, issue(key_pem, now))
    except ConfigurationError as error:
        raise ConfigurationError(f"TLS key file {key}: {error.message}") from None


def _clients(furnished: Furnished) -> Iterator[tuple[str, Path, Path]]:
    """Everybody who connects with keys of this house: name, certificate and key."""
    for name in furnished.policy.principals:
        files = furnished.house.principal(name)
        if files.credentials.exists():
            yield name, files.certificate, files.certificate_key
    for worker in furnished.workers:
        yield worker.slot, worker.certificate, worker.certificate_key


def _shown(house: House) -> tuple[str, ...]:
    """What the server has to read again when it is another."""
    return tuple(
        path.read_text("utf-8", "replace") if path.exists() else ""
        for path in (house.authority, house.server_certificate, house.server_key)
    )
