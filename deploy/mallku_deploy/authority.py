"""A development authority: certificates for one machine's server, principals and workers.

EC keys on P-256 (RFC 5480), X.509 as RFC 5280 has it, with the extensions that Python 3.13 insists
on. A certificate is renewed over the same key, so that the two files always belong together.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mallku_contracts.errors import ConfigurationError

AUTHORITY_DAYS: Final = 3_650
"""How long the authority is valid, days."""

CERTIFICATE_DAYS: Final = 90
"""How long a certificate of it is valid, days."""

RENEW_BEFORE_DAYS: Final = 30
"""How long before its end a certificate is renewed, days."""

SERVER_NAMES: Final = ("localhost", "127.0.0.1", "::1")
"""What the server of `up` may be called."""

_SLACK: Final = dt.timedelta(minutes=5)  # a clock may be set back a little


def new_key() -> str:
    """A new private key, PKCS#8 PEM."""
    key = generate_private_key(SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def new_authority(key_pem: str, now: dt.datetime) -> str:
    """The certificate of an authority that vouches for itself, PEM."""
    key = _private(key_pem)
    name = _name("mallku-gateway development authority")
    builder = _builder(name, key.public_key(), key.public_key(), now, AUTHORITY_DAYS)
    builder = builder.issuer_name(name)
    return _signed(_for_authority(builder), key)


@dataclass(frozen=True, slots=True)
class Authority:
    """Who vouches for certificates.

    Raises:
        ConfigurationError: certificate and key are not an authority's, or do not belong together.
    """

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey

    @classmethod
    def read(cls, certificate_pem: str, key_pem: str) -> Authority:
        """The authority in two PEM texts."""
        certificate, key = read_certificate(certificate_pem), _private(key_pem)
        if certificate.public_key() != key.public_key():
            raise ConfigurationError("the authority's certificate and key do not belong together")
        return cls(certificate, key)

    def server(self, key_pem: str, now: dt.datetime) -> str:
        """A certificate for the server, PEM."""
        names = x509.SubjectAlternativeName([_general(name) for name in SERVER_NAMES])
        builder = self._leaf("mallku-gateway", key_pem, now).add_extension(names, critical=False)
        return _signed(_for(builder, ExtendedKeyUsageOID.SERVER_AUTH), self.key)

    def client(self, name: str, key_pem: str, now: dt.datetime) -> str:
        """A certificate with which `name` may knock at the server, and can be no server, PEM."""
        builder = self._leaf(name, key_pem, now)
        return _signed(_for(builder, ExtendedKeyUsageOID.CLIENT_AUTH), self.key)

    def is_good(self, certificate_pem: str, key_pem: str, now: dt.datetime) -> bool:
        """Whether we vouch for it, it belongs to the key, and it need not be renewed yet."""
        try:
            certificate = read_certificate(certificate_pem)
            certificate.verify_directly_issued_by(self.certificate)
        except (ConfigurationError, ValueError, TypeError, InvalidSignature):
            return False
        left = certificate.not_valid_after_utc - now
        ours = certificate.public_key() == _private(key_pem).public_key()
        return ours and left > dt.timedelta(days=RENEW_BEFORE_DAYS)

    def _leaf(self, name: str, key_pem: str, now: dt.datetime) -> x509.CertificateBuilder:
        public = _private(key_pem).public_key()
        builder = _builder(_name(name), public, self.key.public_key(), now, CERTIFICATE_DAYS)
        return builder.issuer_name(self.certificate.subject)


def read_certificate(pem: str) -> x509.Certificate:
    """A certificate out of PEM; `ConfigurationError` when it is none."""
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise ConfigurationError("this is not a certificate in PEM") from None


def _private(pem: str) -> EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError):
        raise ConfigurationError("this is not a private key in PEM") from None
    if not isinstance(key, EllipticCurvePrivateKey):
        raise ConfigurationError("this is not a key on an elliptic curve")
    return key


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name,
    public: EllipticCurvePublicKey,
    signer: EllipticCurvePublicKey,
    now: dt.datetime,
    days: int,
) -> x509.CertificateBuilder:
    authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(authority_key, critical=False)
    )


def _for_authority(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    return builder.add_extension(constraints, critical=True).add_extension(
        _key_usage(authority=True), critical=True
    )


def _for(
    builder: x509.CertificateBuilder, purpose: x509.ObjectIdentifier
) -> x509.CertificateBuilder:
    constraints = x509.BasicConstraints(ca=False, path_length=None)
    return (
        builder.add_extension(constraints, critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
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


def _signed(builder: x509.CertificateBuilder, key: EllipticCurvePrivateKey) -> str:
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
