from __future__ import annotations

import asyncio
import datetime as dt
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding

from mallku_broker.configuration import ServerTls
from mallku_broker.connection import ConnectionSettings, GatewayConnection
from mallku_broker.events import EventKind
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from tests.support.certificates import Pair, make_authority, make_certificate
from tests.support.nats import NatsHouse, Witness, nats_house, until

AT_ONCE_S = 8.0
OVER = dt.timedelta(minutes=-5)


@dataclass(frozen=True)
class TlsHouse:
    """A server with TLS that asks for certificates, and what clients may show or believe."""

    house: NatsHouse
    authority: Pair
    client: Pair
    stranger: Pair
    folder: Path

    @property
    def good(self) -> dict[str, Any]:
        """What a client needs to be let in."""
        return _files(self.authority, self.client)


def _files(authority: Pair, shown: Pair | None = None) -> dict[str, Any]:
    """The settings that believe `authority` and show `shown`."""
    files: dict[str, Any] = {"tls_ca": authority.certificate}
    if shown is None:
        return files
    return files | {"tls_cert": shown.certificate, "tls_key": shown.key}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tls(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TlsHouse]:
    """One server for this module."""
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = make_authority(folder, "authority"), make_authority(folder, "stranger")
    server = make_certificate(folder, "server", authority)
    client = make_certificate(folder, "client", authority)
    files = ServerTls(server.certificate, server.key, authority.certificate)
    async with nats_house(folder / "nats", tls=files, streams=False) as house:
        yield TlsHouse(house, authority, client, stranger, folder)


def _ssl(connection: GatewayConnection) -> ssl.SSLObject:
    found: ssl.SSLObject = connection._wire._io_writer.get_extra_info("ssl_object")  # type: ignore[union-attr]
    return found


async def test_both_sides_show_themselves(tls: TlsHouse, caplog: pytest.LogCaptureFixture) -> None:
    """With its authority's certificate and one of our own the connection stands, encrypted.

    It ends without a word of warning.
    """
    assert tls.house.url.startswith("tls://")
    async with tls.house.connection("mallku", **tls.good) as caller:
        await caller.flush()
        assert _ssl(caller).version() == "TLSv1.3"
    assert caplog.records == []


async def test_an_authority_we_do_not_know_is_refused_at_once(tls: TlsHouse) -> None:
    """A server that anybody could be is not spoken to; server, fault and CA file are named."""
    address = tls.house.url.removeprefix("tls://")
    async with asyncio.timeout(AT_ONCE_S):
        with pytest.raises(ConfigurationError, match="the broker's certificate") as refusal:
            await tls.house.connect("mallku", **_files(tls.stranger), connect_timeout_s=30.0)
    for named in (address, "unable to get local issuer", str(tls.stranger.certificate)):
        assert named in refusal.value.message


async def test_without_a_ca_the_system_decides(tls: TlsHouse) -> None:
    """A private authority is unknown to the system, and TLS is not given up for that."""
    with pytest.raises(ConfigurationError, match=r"the broker's certificate.*system's list"):
        await tls.house.connect("mallku")


async def test_a_plain_client_does_not_speak_in_the_clear(tls: TlsHouse) -> None:
    """A URL without TLS and no files: the server asks for TLS, and is held to the same proof."""
    url = tls.house.url.replace("tls://", "nats://")
    async with asyncio.timeout(AT_ONCE_S):
        with pytest.raises(ConfigurationError, match="the broker's certificate"):
            await tls.house.connect("mallku", url=url, connect_timeout_s=30.0)


async def test_a_server_of_another_name_is_refused(tls: TlsHouse, tmp_path: Path) -> None:
    """A certificate of the right authority for another address is none for this one."""
    other = make_certificate(tmp_path, "other", tls.authority, host="192.0.2.1")
    async with nats_house(
        tmp_path / "nats", tls=ServerTls(other.certificate, other.key), streams=False
    ) as house:
        with pytest.raises(ConfigurationError, match=r"IP address mismatch.*127\.0\.0\.1"):
            await house.connect("mallku", **_files(tls.authority))


async def test_a_certificate_that_is_over_is_refused(tls: TlsHouse, tmp_path: Path) -> None:
    """The server's by us, and ours by the server; both say so before the timeout."""
    over = make_certificate(tmp_path, "over", tls.authority, life=OVER)
    async with asyncio.timeout(AT_ONCE_S):
        with pytest.raises(ConfigurationError, match=r"TLS certificate.*over\.pem.*expired"):
            await tls.house.connect("mallku", **_files(tls.authority, over), connect_timeout_s=30.0)
        async with nats_house(
            tmp_path / "nats", tls=ServerTls(over.certificate, over.key), streams=False
        ) as house:
            with pytest.raises(ConfigurationError, match=r"not believed.*expired"):
                await house.connect("mallku", **_files(tls.authority), connect_timeout_s=30.0)


async def test_a_client_that_shows_nothing_is_not_let_in(tls: TlsHouse) -> None:
    """A server that asks for certificates takes none of an unknown authority, and not none."""
    for shown, says in ((None, "none was given"), (tls.stranger, "stranger.pem.*unknown ca")):
        async with asyncio.timeout(AT_ONCE_S):
            with pytest.raises(ConfigurationError, match=rf"refuses our TLS.*{says}"):
                await tls.house.connect(
                    "mallku", **_files(tls.authority, shown), connect_timeout_s=30.0
                )


async def test_a_server_that_shakes_no_hands_is_given_up_in_time(tls: TlsHouse) -> None:
    """Who asks for TLS and then says nothing costs no more than the connect timeout."""
    greeting = (
        b'INFO {"server_id":"x","version":"2.15.1","max_payload":1000,"tls_required":true}\r\n'
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(AT_ONCE_S)
        port = listener.getsockname()[1]
        url = f"tls://127.0.0.1:{port}"
        trying = asyncio.create_task(
            tls.house.connect("mallku", url=url, connect_timeout_s=0.5, attempt_timeout_s=0.2)
        )
        taken, _ = await asyncio.to_thread(listener.accept)
        with taken:
            taken.sendall(greeting)
            with pytest.raises(GatewayUnreachable, match=f"within 0.5 s.*127.0.0.1:{port}"):
                await trying


async def test_unusable_tls_files_are_named(tls: TlsHouse, tmp_path: Path) -> None:
    """What is no certificate, or a key that others can read, is named before anything is tried."""
    rubbish, key = tmp_path / "ca.pem", tmp_path / "open.key"
    rubbish.write_text("rubbish", "utf-8")
    key.write_text(tls.client.key.read_text("utf-8"), "utf-8")
    key.chmod(0o644)
    with pytest.raises(ConfigurationError, match=str(rubbish)):
        await tls.house.connect("mallku", tls_ca=rubbish)
    with pytest.raises(ConfigurationError, match=f"TLS key file {key}.*chmod 600"):
        await tls.house.connect("mallku", tls_cert=tls.client.certificate, tls_key=key)
    with pytest.raises(ConfigurationError, match=str(tls.stranger.key)):
        await tls.house.connect("mallku", tls_cert=tls.client.certificate, tls_key=tls.stranger.key)


async def test_an_old_version_of_tls_is_refused(tls: TlsHouse) -> None:
    """The server speaks nothing older than it was told, by default TLS 1.3."""
    context = ssl.create_default_context(cafile=str(tls.authority.certificate))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.client.certificate, tls.client.key)
    reader, writer = await asyncio.open_connection("127.0.0.1", tls.house.server.port)
    assert (await reader.readline()).startswith(b"INFO")
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        await writer.start_tls(context, server_hostname="127.0.0.1")
    writer.close()


def _put(source: Pair, target: Pair) -> None:
    shutil.copyfile(source.certificate, target.certificate)
    shutil.copyfile(source.key, target.key)


async def test_certificates_are_renewed_without_a_restart(tls: TlsHouse, tmp_path: Path) -> None:
    """After a reload newcomers see the new certificate; who was there works on undisturbed."""
    server = make_certificate(tmp_path, "server", tls.authority)
    renewed = make_certificate(tmp_path, "renewed", tls.authority)
    first = server.made.public_bytes(Encoding.DER)
    files = ServerTls(server.certificate, server.key, tls.authority.certificate)
    witness = Witness()
    async with (
        nats_house(tmp_path / "nats", tls=files, streams=False) as house,
        house.connection("mallku", on_event=witness, **tls.good) as old,
    ):
        assert _ssl(old).getpeercert(binary_form=True) == first
        _put(renewed, server)
        await asyncio.gather(house.server.reload(), house.server.reload())
        async with house.connection("mallory", **tls.good) as new:
            shown = _ssl(new).getpeercert(binary_form=True)
            assert shown == renewed.made.public_bytes(Encoding.DER) != first
        await old.flush()
        assert _ssl(old).getpeercert(binary_form=True) == first
        assert witness.events == []


async def test_a_reconnect_reads_the_files_again(tls: TlsHouse, tmp_path: Path) -> None:
    """A new authority: who is reconnecting finds the new files, shows and believes what is there.

    Files that are broken in between are told, and the former ones are tried.
    """
    first, second = make_authority(tmp_path, "first"), make_authority(tmp_path, "second")
    server = make_certificate(tmp_path, "server", first)
    client = make_certificate(tmp_path, "client", first)
    files = ServerTls(server.certificate, server.key, first.certificate)
    witness = Witness()
    async with (
        nats_house(tmp_path / "nats", tls=files, streams=False) as house,
        house.connection("mallku", on_event=witness, **_files(first, client)) as connection,
    ):
        await house.server.stop()
        _put(make_certificate(tmp_path, "server2", second), server)
        _put(make_certificate(tmp_path, "client2", second), client)
        first.certificate.write_text("broken")
        await until(lambda: any(str(first.certificate) in event.detail for event in witness.events))
        shutil.copyfile(second.certificate, first.certificate)
        await house.server.start()
        await witness.sees(EventKind.RECONNECTED)
        await connection.flush()


def test_settings_that_name_files_ask_for_tls() -> None:
    """A CA file alone means that a server without TLS is refused."""
    assert ConnectionSettings(tls_ca=Path("ca.pem")).needs_tls
    assert not ConnectionSettings().needs_tls
