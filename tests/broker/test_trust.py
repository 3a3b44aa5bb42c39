"""Trust out of files and URLs: what changes is taken, what is broken is told and not taken."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mallku_broker import jwks
from mallku_broker.trust import TrustFile, load_trust
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.keys import SigningKey
from mallku_contracts.trust import Trust, TrustError, read_jwks
from tests.support.issuers import (
    ISSUER,
    ONE,
    OTHER,
    RSA,
    THREE,
    TWO,
    jwk,
    published,
    write_trust,
)

Complaints = list[str]


def opened(path: Path) -> tuple[TrustFile, Complaints]:
    """The trust file in use, and what it complains of."""
    complaints: Complaints = []
    return TrustFile(path, complaints.append), complaints


def test_a_folder_of_keys_is_an_issuers(tmp_path: Path) -> None:
    """Each PEM file is a key under its name and its thumbprint; other files are none."""
    folder = tmp_path / "keys.d"
    folder.mkdir()
    (folder / "2026-a.pem").write_text(ONE.to_pem())
    (folder / "2026-b.pem").write_text(TWO.to_pem())
    (folder / "2026-c.pem~").write_text("an editor's leftovers")
    trust = load_trust(write_trust(tmp_path, first={"directory": "keys.d"}))
    assert trust.key(ISSUER, "2026-a") == trust.key(ISSUER, ONE.kid) == ONE
    assert trust.key(ISSUER, "2026-b") == trust.key(ISSUER, TWO.kid) == TWO
    assert set(trust.issuers[ISSUER].values()) == {ONE, TWO}


def test_a_jwks_file_is_an_issuers(tmp_path: Path) -> None:
    """Keys of other kinds and for other uses are passed over; a key may have its own name."""
    keys = (jwk(ONE, "a"), RSA, {**jwk(TWO), "use": "enc"}, {**jwk(THREE), "alg": "ES256"})
    (tmp_path / "jwks.json").write_text(published(*keys))
    trust = load_trust(write_trust(tmp_path, first={"jwks_file": "jwks.json"}))
    assert trust.issuers[ISSUER] == {"a": ONE, ONE.kid: ONE}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "expected a JWK set"),
        ("{", "not JSON"),
        (published(), "no Ed25519 key"),
        (published(RSA), "no Ed25519 key"),
        (published(jwk(ONE, "a"), jwk(TWO, "a")), "'a' names two keys"),
        (published(jwk(ONE, TWO.kid), jwk(TWO)), "names two keys"),
        (published({**jwk(ONE), "d": "AAAA"}), "private key"),
        (published({**jwk(ONE), "x": "AAAA"}), "32 bytes"),
        (published({**jwk(ONE), "kid": 5}), "key id"),
        (published({**jwk(ONE), "kid": "k" * 129}), "key id"),
        ('{"keys": [7]}', "JSON object"),
        ('{"keys": [], "keys": []}', "twice"),
        (published(*(jwk(SigningKey(bytes([n]) * 32).public) for n in range(65))), "more than 64"),
    ],
)
def test_what_is_no_jwks_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    """Trust file, issuer, JWKS file and fault are all named."""
    (tmp_path / "jwks.json").write_text(text)
    path = write_trust(tmp_path, first={"jwks_file": "jwks.json"})
    with pytest.raises(ConfigurationError, match=says) as refusal:
        load_trust(path)
    for named in (str(path), ISSUER, "jwks.json"):
        assert named in refusal.value.message


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"directory": "d", "jwks_file": "f"}, "one of"),
        ({"directory": "d", "keys": [ONE.jwk()]}, "one of"),
        ({"folder": "d"}, "JWK set"),
        ({"directory": ""}, "not empty"),
        ({"directory": 7}, "not empty"),
        ({"jwks_url": "http://issuer.example/jwks"}, "https"),
        ({"jwks_url": "file:///etc/passwd"}, "https"),
        ({"directory": "d", "ca_file": "c"}, "ca_file"),
        ({"directory": "missing"}, "No such file"),
        ({"jwks_file": "missing"}, "No such file"),
        ({"keys": [{**ONE.jwk(), "kid": "mine"}]}, "thumbprint"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused(tmp_path: Path, value: Any, says: str) -> None:
    """One place for each issuer, none that anybody on the way could change."""
    path = write_trust(tmp_path, first=value)
    with pytest.raises(ConfigurationError, match=says) as refusal:
        load_trust(path)
    assert f"issuer {ISSUER!r}" in refusal.value.message


def test_a_private_key_among_public_ones_is_refused_and_not_shown(tmp_path: Path) -> None:
    """Somebody put the wrong half there: the file is named, the key is not repeated."""
    folder = tmp_path / "keys.d"
    folder.mkdir()
    secret = SigningKey(bytes([7]) * 32).to_pem()
    (folder / "oops.pem").write_text(secret)
    with pytest.raises(ConfigurationError, match=r"oops.*PUBLIC KEY") as refusal:
        load_trust(write_trust(tmp_path, first={"directory": "keys.d"}))
    assert secret.splitlines()[1] not in refusal.value.message


def test_a_key_id_names_one_key_across_issuers(tmp_path: Path) -> None:
    """Two issuers may share a key, but not give two keys the same id."""
    (tmp_path / "a.json").write_text(published(jwk(ONE, "k")))
    (tmp_path / "b.json").write_text(published(jwk(TWO, "k")))
    path = write_trust(tmp_path, first={"jwks_file": "a.json"}, second={"jwks_file": "b.json"})
    with pytest.raises(ConfigurationError, match="'k' names two keys"):
        load_trust(path)
    (tmp_path / "b.json").write_text(published(jwk(ONE, "k")))
    assert load_trust(path).any_key("k") == ONE


def test_rotation_overlaps_and_ends(tmp_path: Path) -> None:
    """A key is added, both count; the old one is taken away, and counts no more."""
    folder = tmp_path / "keys.d"
    folder.mkdir()
    (folder / "old.pem").write_text(ONE.to_pem())
    trust, complaints = opened(write_trust(tmp_path, first={"directory": "keys.d"}))
    before = trust.trust
    assert not trust.look()
    assert trust.trust is before
    (folder / "new.pem").write_text(TWO.to_pem())
    assert trust.look()
    assert trust.trust.key(ISSUER, "old") == ONE
    assert trust.trust.key(ISSUER, "new") == TWO
    (folder / "old.pem").unlink()
    assert trust.look()
    assert trust.trust.any_key(ONE.kid) is None
    assert trust.trust.key(ISSUER, "new") == TWO
    assert complaints == []


def test_the_same_size_at_the_same_time_is_still_a_change(tmp_path: Path) -> None:
    """A file is judged by what it says, not by its time and size."""
    path = tmp_path / "trust.json"
    path.write_text(Trust.of(ISSUER, ONE).to_json())
    trust, _ = opened(path)
    status = path.stat()
    path.write_text(Trust.of(ISSUER, TWO).to_json())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert trust.look()
    assert trust.trust == Trust.of(ISSUER, TWO)


def test_taking_the_last_key_away_ends_the_trust(tmp_path: Path) -> None:
    """A folder that was emptied is believed: nobody is trusted out of habit; and it is told."""
    folder = tmp_path / "keys.d"
    folder.mkdir()
    (folder / "old.pem").write_text(ONE.to_pem())
    trust, complaints = opened(write_trust(tmp_path, first={"directory": "keys.d"}))
    (folder / "old.pem").unlink()
    assert trust.look()
    assert trust.trust.silent == [ISSUER]
    assert len(complaints) == 1
    assert "no Ed25519 key" in complaints[0]


def _cut(path: Path) -> None:
    path.write_text(path.read_text()[:-5])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.unlink(), "No such file"),
        (_cut, "not JSON"),
        (lambda path: path.write_text("{}"), "expected"),
        (lambda path: path.write_bytes(b"\xff"), "UTF-8"),
    ],
)
def test_a_broken_file_is_told_once_and_not_taken(
    tmp_path: Path, spoil: Callable[[Path], object], says: str
) -> None:
    """The former trust stays, the complaint names the file; the next good one is taken."""
    path = tmp_path / "trust.json"
    path.write_text(Trust.of(ISSUER, ONE).to_json())
    trust, complaints = opened(path)
    spoil(path)
    for _ in range(3):
        assert not trust.look()
    assert trust.trust == Trust.of(ISSUER, ONE)
    assert len(complaints) == 1
    assert says in complaints[0]
    assert str(path) in complaints[0]
    path.write_text(Trust.of(ISSUER, TWO).to_json())
    assert trust.look()
    spoil(path)
    trust.look()
    assert len(complaints) == 2


def test_one_issuers_fault_is_not_anothers(tmp_path: Path) -> None:
    """While one issuer's file is broken its keys stay, and another's key can still be removed."""
    (tmp_path / "jwks.json").write_text(published(jwk(THREE)))
    source = {"jwks_file": "jwks.json"}
    path = write_trust(tmp_path, first={"keys": [ONE.jwk(), TWO.jwk()]}, second=source)
    trust, complaints = opened(path)
    (tmp_path / "jwks.json").write_text("broken")
    write_trust(tmp_path, first={"keys": [TWO.jwk()]}, second=source)
    assert trust.look()
    assert trust.trust.any_key(ONE.kid) is None
    assert trust.trust.key(OTHER, THREE.kid) == THREE
    assert [OTHER in complaint for complaint in complaints] == [True]


def test_looking_is_bounded(tmp_path: Path) -> None:
    """`changed` looks at most once in its interval."""
    now_s = 0.0
    path = tmp_path / "trust.json"
    path.write_text(Trust.of(ISSUER, ONE).to_json())
    trust = TrustFile(path, pytest.fail, look_every_s=1.0, monotonic_s=lambda: now_s)
    path.write_text(Trust.of(ISSUER, TWO).to_json())
    now_s = 0.9
    assert not trust.changed()
    now_s = 1.0
    assert trust.changed()
    assert not trust.changed()


def test_a_worker_starts_without_an_issuer_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One issuer's silence is told, and takes no other issuer's tokens away; it may come later."""
    answer: list[str] = []

    def fetch(_url: str, _ca_file: Path | None) -> str:
        if not answer:
            raise OSError("no route to host")
        return answer[0]

    monkeypatch.setattr("mallku_broker.trust.fetch_https", fetch)
    monkeypatch.setattr(jwks, "FETCH_RETRY_S", 0.0)
    away = {"jwks_url": "https://other.example/jwks"}
    path = write_trust(tmp_path, first={"keys": [ONE.jwk()]}, second=away)
    trust, complaints = opened(path)
    assert trust.trust.key(ISSUER, ONE.kid) == ONE
    assert trust.trust.silent == [OTHER]
    assert [text.endswith("no route to host") for text in complaints] == [True]
    answer.append(published(jwk(TWO)))
    finished = threading.Event()
    for _ in range(500):
        if trust.look():
            break
        finished.wait(0.01)  # for the thread that fetches
    assert trust.trust.key(OTHER, TWO.kid) == TWO


def test_the_document_alone_says_when_keys_lie_elsewhere() -> None:
    """Whoever has no files to look into is told so, and trusts nobody."""
    with pytest.raises(TrustError, match="not in the document"):
        Trust.from_json(json.dumps({"issuers": {ISSUER: {"directory": "keys.d"}}}))
    assert read_jwks(published(RSA)) == {}
