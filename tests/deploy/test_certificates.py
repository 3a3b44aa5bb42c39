"""The certificates of a house: made once, renewed in time, for their purpose and no other."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mallku_contracts.errors import ConfigurationError
from mallku_deploy import authority as module
from mallku_deploy.authority import (
    CERTIFICATE_DAYS,
    RENEW_BEFORE_DAYS,
    Authority,
    new_authority,
    new_key,
    read_certificate,
)
from mallku_deploy.certificates import furnish_certificates
from mallku_deploy.encryption import make_streams_key, store_encryption
from mallku_deploy.furnish import Furnished, furnish
from mallku_deploy.house import House

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def authority() -> Authority:
    """One authority for this module."""
    key = new_key()
    return Authority.read(new_authority(key, NOW), key)


def _furnished(root: Path, workers: int = 1) -> Furnished:
    furnished = furnish(House(root), workers)
    furnish_certificates(furnished)
    return furnished


def _files(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _purposes(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_everybody_who_connects_gets_a_pair(tmp_path: Path) -> None:
    """Server, every principal and every worker; everything for its owner alone."""
    house = _furnished(tmp_path / "house").house
    for files in (house.principal("mallku"), house.principal("auditor"), house.worker("worker-1")):
        context = ssl.create_default_context(cafile=str(house.authority))
        context.load_cert_chain(files.certificate, files.certificate_key)
    for path in (tmp_path / "house").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_nothing_that_is_good_is_made_again(tmp_path: Path) -> None:
    """A second start finds every byte as the first one left it."""
    _furnished(tmp_path / "house")
    before = _files(tmp_path)
    _furnished(tmp_path / "house")
    assert _files(tmp_path) == before


def test_a_worker_that_is_no_more_leaves_no_key(tmp_path: Path) -> None:
    """With fewer workers, the folder of the other is gone, certificates and all."""
    house = _furnished(tmp_path / "house", workers=2).house
    _furnished(tmp_path / "house", workers=1)
    assert not house.worker("worker-2").folder.exists()


def test_a_certificate_is_for_one_purpose(authority: Authority) -> None:
    """A principal's certificate is no server's, and nobody can vouch for others with it."""
    client = read_certificate(authority.client("mallku", new_key(), NOW))
    server = read_certificate(authority.server(new_key(), NOW))
    assert _purposes(client) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert _purposes(server) == [ExtendedKeyUsageOID.SERVER_AUTH]
    for certificate in (client, server):
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert not constraints.value.ca
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


@pytest.mark.parametrize(
    ("age_days", "good"),
    [
        (0, True),
        (CERTIFICATE_DAYS - RENEW_BEFORE_DAYS - 1, True),
        (CERTIFICATE_DAYS - RENEW_BEFORE_DAYS, False),
        (CERTIFICATE_DAYS + 1, False),
    ],
)
def test_a_certificate_is_renewed_before_it_is_over(
    authority: Authority, age_days: int, good: bool
) -> None:
    """With less than the margin left it is not good any more."""
    key = new_key()
    assert authority.is_good(authority.client("a", key, NOW), key, NOW + age_days * DAY) == good


def test_a_certificate_of_somebody_else_is_replaced(authority: Authority) -> None:
    """Of another authority with the same name, for another key, or junk: not good."""
    other_key, key = new_key(), new_key()
    other = Authority.read(new_authority(other_key, NOW), other_key)
    assert not authority.is_good(other.client("a", key, NOW), key, NOW)
    assert not authority.is_good(authority.client("a", new_key(), NOW), key, NOW)
    for junk in ("", "junk"):
        assert not authority.is_good(junk, key, NOW)


def test_renewal_keeps_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificate and key belong together at every moment, because only one of them changes."""
    house = _furnished(tmp_path / "house").house
    files = house.principal("mallku")
    certificate, key = files.certificate.read_bytes(), files.certificate_key.read_bytes()
    monkeypatch.setattr(module, "RENEW_BEFORE_DAYS", CERTIFICATE_DAYS + 1)
    _furnished(tmp_path / "house")
    assert files.certificate.read_bytes() != certificate
    assert files.certificate_key.read_bytes() == key


def test_somebody_elses_certificates_are_left_alone(tmp_path: Path) -> None:
    """Without the authority's key nothing is issued; what is missing is named."""
    house = _furnished(tmp_path / "house").house
    house.authority_key.unlink()
    before = _files(tmp_path)
    _furnished(tmp_path / "house")
    assert _files(tmp_path) == before
    house.server_key.unlink()
    with pytest.raises(ConfigurationError, match=str(house.server_key)):
        _furnished(tmp_path / "house")


def test_an_authority_that_does_not_hold_is_named(tmp_path: Path) -> None:
    """A certificate of one and a key of another: an error with the folder's name."""
    house = _furnished(tmp_path / "house").house
    house.authority_key.write_text(new_key())
    with pytest.raises(ConfigurationError, match=f"{house.tls}.*do not belong together"):
        _furnished(tmp_path / "house")
    house.authority_key.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        _furnished(tmp_path / "house")


def test_a_key_for_streams_is_made_once(tmp_path: Path) -> None:
    """A house has a key or none; one that is there, or a link to one elsewhere, stays."""
    house = furnish(House(tmp_path / "house"), 1).house
    assert store_encryption(house) is None
    make_streams_key(house)
    key = house.streams_key.read_text()
    make_streams_key(house)
    assert house.streams_key.read_text() == key
    found = store_encryption(house)
    assert found is not None
    assert found.former_key_file is None
    house.streams_key.rename(tmp_path / "elsewhere")
    house.streams_key.symlink_to(tmp_path / "elsewhere")
    make_streams_key(house)
    assert house.streams_key.is_symlink()
    assert house.streams_key.read_text() == key
