"""Whom a door knows: the file of services, and tokens only while their issuer is trusted."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from mallku_broker.files import write_private_text
from mallku_broker.trust import TrustFile
from mallku_client.clock import Clock
from mallku_client.http.entity_tags import expected_revision, is_known
from mallku_client.http.services import Services
from mallku_client.http.settings import DoorSettings
from mallku_client.http.who import Doorkeeper
from mallku_contracts.errors import ConfigurationError, InvalidArguments, InvalidToken
from mallku_contracts.keys import SigningKey
from mallku_contracts.trust import Trust
from tests.support.simulated_caller import ISSUER, ISSUER_KEY, make_token

SECRET = "s" * 40
KEY = SigningKey(b"k" * 32)


def make_files(folder: Path) -> dict[str, str]:
    """A service's entry, with its key and token beside the file."""
    write_private_text(folder / "key.pem", KEY.to_pem())
    write_private_text(folder / "token.jwt", make_token(KEY, principal="svc").decode())
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    return {"secret_sha256": digest, "key_file": "key.pem", "token_file": "token.jwt"}


def load(folder: Path, listed: Any) -> Services:
    """What a file with this content makes known."""
    path = folder / "services.json"
    write_private_text(path, listed if isinstance(listed, str) else json.dumps(listed))
    return Services.load(path, Clock())


def test_secret_finds_its_service_and_nothing_else_does(tmp_path: Path) -> None:
    """A whole secret, of sufficient length; near misses and the hash itself are nobody's."""
    entry = make_files(tmp_path)
    services = load(tmp_path, {"reporting": entry})
    assert services.find(SECRET).identity.principal == "svc"
    for wrong in ("", SECRET[:-1], f"{SECRET} ", entry["secret_sha256"], "ß" * 40):
        with pytest.raises(InvalidToken) as caught:
            services.find(wrong)
        assert wrong == "" or wrong not in str(caught.value)
    assert SECRET not in repr(services.find(SECRET))
    assert len(Services.load(None, Clock())) == 0


def test_short_secret_is_nobodys(tmp_path: Path) -> None:
    """What could be guessed opens nothing, even where its hash is listed."""
    entry = make_files(tmp_path) | {"secret_sha256": hashlib.sha256(b"short").hexdigest()}
    with pytest.raises(InvalidToken):
        load(tmp_path, {"reporting": entry}).find("short")


def test_file_that_is_wrong_is_named(tmp_path: Path) -> None:
    """Junk, missing or odd members, two of one secret, files that are not there."""
    entry = make_files(tmp_path)
    for listed, said in (
        ("{", "not JSON"),
        ("[]", "expected an object"),
        ({"a": {}}, "expected key_file"),
        ({"a": entry | {"secret_sha256": SECRET}}, "64 hexadecimal"),
        ({"a": entry | {"secret": SECRET}}, "expected key_file"),
        ({"a": entry, "b": entry}, "the same secret"),
        ({"a": entry | {"key_file": "missing.pem"}}, "missing.pem"),
    ):
        with pytest.raises(ConfigurationError, match=said) as caught:
            load(tmp_path, listed)
        assert SECRET not in str(caught.value)


def test_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """It names who may act as whom."""
    path = tmp_path / "services.json"
    path.write_text("{}")
    path.chmod(0o644)
    with pytest.raises(ConfigurationError):
        Services.load(path, Clock())


def test_token_is_believed_while_its_issuer_is_trusted(tmp_path: Path) -> None:
    """An issuer that leaves the trust file takes its tokens along, remembered or not."""
    path = tmp_path / "trust.json"
    write_private_text(path, Trust.of(ISSUER, ISSUER_KEY.public).to_json())
    trust = TrustFile(path, print, look_every_s=0.0)
    keeper = Doorkeeper(trust, Services({}), Clock(), "http://x")
    token = make_token(KEY, principal="alice").decode()
    assert keeper.identify(token).principal == keeper.identify(token).principal == "alice"
    write_private_text(path, Trust.of(ISSUER, SigningKey(b"n" * 32).public).to_json())
    with pytest.raises(InvalidToken):
        keeper.identify(token)
    request = Request({"type": "http", "headers": [], "method": "GET", "path": "/"})
    with pytest.raises(InvalidToken, match="does not say who asks"):
        keeper.who(request)


def test_remembered_token_ends_in_its_time(tmp_path: Path) -> None:
    """Its `exp` is looked at every time."""
    path = tmp_path / "trust.json"
    write_private_text(path, Trust.of(ISSUER, ISSUER_KEY.public).to_json())
    now = [time.time()]
    clock = Clock(lambda: now[0])
    keeper = Doorkeeper(TrustFile(path, print), Services({}), clock, "http://x")
    token = make_token(KEY, principal="alice", life_s=60).decode()
    keeper.identify(token)
    now[0] += 200.0
    with pytest.raises(InvalidToken.__bases__[0]):
        keeper.identify(token)


def test_conditions_are_read_as_http_has_them() -> None:
    """Quoted, strong for `If-Match`, weak or listed for `If-None-Match`; the rest is refused."""
    assert expected_revision(None) is expected_revision(" * ") is None
    assert expected_revision('"_kR"') == "_kR"
    for wrong in ("_kR", 'W/"_kR"', '"a", "b"', ""):
        with pytest.raises(InvalidArguments):
            expected_revision(wrong)
    document = {"_rev": "_kR"}
    assert all(is_known(known, document) for known in ("*", '"_kR"', 'W/"_kR"', '"a", "_kR"'))
    assert not any(is_known(known, document) for known in (None, '"a"', "_kR", ""))


def test_settings_are_bounded() -> None:
    """What is too much or too little is refused with the variable's name."""
    assert DoorSettings.from_environment({}).host == "127.0.0.1"
    assert DoorSettings.from_environment({"MALLKU_HTTP_PORT": " 0 "}).port == 0
    for name, text in (
        ("MALLKU_HTTP_PORT", "65536"),
        ("MALLKU_HTTP_MAX_REQUESTS", "0"),
        ("MALLKU_HTTP_MAX_BODY_BYTES", "99999999"),
        ("MALLKU_HTTP_MAX_ATTEMPTS", "9"),
        ("MALLKU_HTTP_WAIT", "nan"),
    ):
        with pytest.raises(ConfigurationError, match=name):
            DoorSettings.from_environment({name: text})
