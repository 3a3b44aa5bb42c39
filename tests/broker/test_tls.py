from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mallku_broker.configuration import ServerTls
from mallku_broker.files import write_private_text
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from tests.support.nats import NatsHouse, nats_house


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files and as values."""

    certificate: Path
    key: Path
    made: x509.Certificate
    secret: ec.EllipticCurvePrivateKey


def _usage(*, authority: bool) -> x509.KeyUsage:
    """What a certificate is for; Python 3.13 believes no authority that does not say so."""
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _make(folder: Path, name: str, issuer: Pair | None = None) -> Pair:
    """A certificate for 127.0.0.1, by `issuer`, or an authority of its own."""
    secret = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signer = secret if issuer is None else issuer.secret
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.made.subject)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(_usage(authority=issuer is None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(secret.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = secret.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private_text(key, pem.decode())
    return Pair(certificate, key, made, secret)


@dataclass(frozen=True)
class TlsHouse:
    """A server with TLS that asks for certificates, and what clients may show or believe."""

    house: NatsHouse
    authority: Pair
    client: Pair
    stranger: Pair


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tls(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TlsHouse]:
    """One server for this module."""
    folder = tmp_path_factory.mktemp("tls")
    authority = _make(folder, "authority")
    server, client = _make(folder, "server", authority), _make(folder, "client", authority)
    files = ServerTls(server.certificate, server.key, authority.certificate, verify=True)
    async with nats_house(folder / "nats", tls=files, streams=False) as house:
        yield TlsHouse(house, authority, client, _make(folder, "stranger"))


async def test_both_sides_show_themselves(tls: TlsHouse) -> None:
    """With its authority's certificate and one of our own the connection stands, encrypted."""
    assert tls.house.url.startswith("tls://")
    async with tls.house.connection(
        "mallku",
        tls_ca=tls.authority.certificate,
        tls_cert=tls.client.certificate,
        tls_key=tls.client.key,
    ) as caller:
        await caller.flush()
        writer = getattr(caller._transport, "_io_writer", None)
        assert writer is not None
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"


async def test_an_authority_we_do_not_know_is_refused_at_once(tls: TlsHouse) -> None:
    """A server that anybody could be is not spoken to, and we do not wait for the timeout."""
    async with asyncio.timeout(5):
        with pytest.raises(ConfigurationError, match="the broker's certificate"):
            await tls.house.connect(
                "mallku", tls_ca=tls.stranger.certificate, connect_timeout_s=30.0
            )


async def test_without_a_ca_the_system_decides(tls: TlsHouse) -> None:
    """A private authority is unknown to the system, and TLS is not given up for that."""
    with pytest.raises(ConfigurationError, match="the broker's certificate"):
        await tls.house.connect("mallku")


async def test_a_client_that_shows_nothing_is_not_let_in(tls: TlsHouse) -> None:
    """A server that asks for certificates takes none of an unknown authority, and not none."""
    believes: dict[str, Any] = {"tls_ca": tls.authority.certificate, "connect_timeout_s": 0.5}
    stranger: dict[str, Any] = {"tls_cert": tls.stranger.certificate, "tls_key": tls.stranger.key}
    for shown in (believes, believes | stranger):
        with pytest.raises(GatewayUnreachable, match=r"127\.0\.0\.1"):
            await tls.house.connect("mallku", **shown)


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
