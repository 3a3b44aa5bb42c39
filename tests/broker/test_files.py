from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mallku_broker.files import (
    MAX_FILE_BYTES,
    load_signing_key,
    load_token,
    read_private_text,
    read_text,
    write_private_text,
)
from mallku_broker.headers import decode_headers, encode_headers, status
from mallku_broker.nkeys import new_nkey, public_nkey
from mallku_broker.trust import load_trust
from mallku_broker.versions import check_server_version
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.keys import SigningKey
from mallku_contracts.trust import Trust

KEY = SigningKey(bytes(range(32)))


def test_a_private_file_is_written_for_its_owner_alone_and_read_again(tmp_path: Path) -> None:
    """Mode 0600 from the first moment, also over a file that was open to others."""
    path = tmp_path / "secret"
    path.write_text("old", "utf-8")
    path.chmod(0o644)
    write_private_text(path, "wayra ñan")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_private_text(path, "secret") == "wayra ñan"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole or not at all: when the disk fails, the former text is still there."""
    path = tmp_path / "secret"
    write_private_text(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match="No space left"):
        write_private_text(path, "new")
    assert path.read_text("utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o777])
def test_a_file_open_to_others_is_refused_and_says_what_to_do(tmp_path: Path, mode: int) -> None:
    """Any right of group or others is one too many."""
    path = tmp_path / "key.pem"
    path.write_text(KEY.to_pem(), "utf-8")
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"mode {mode:04o}.*chmod 600 {path}"):
        load_signing_key(path)


def _missing(path: Path) -> None:
    path.unlink(missing_ok=True)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _large(path: Path) -> None:
    path.write_bytes(b"x" * (MAX_FILE_BYTES + 1))


def _not_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_missing, "No such file"),
        (_folder, "directory"),
        (_pipe, "not a regular file"),
        (_large, "larger than"),
        (_not_text, "not UTF-8"),
    ],
)
def test_an_unusable_file_is_named_with_its_purpose(
    tmp_path: Path, spoil: Callable[[Path], None], says: str
) -> None:
    """The error names what the file was for, where it is, and what is wrong."""
    path = tmp_path / "file"
    path.touch()
    spoil(path)
    with pytest.raises(ConfigurationError, match=says) as caught:
        read_text(path, "trust file")
    assert f"trust file {path}" in caught.value.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    """A file without any rights is an error with its name."""
    path = tmp_path / "key.pem"
    path.touch(mode=0)
    with pytest.raises(ConfigurationError, match="Permission denied"):
        read_private_text(path, "key file")


def test_a_signing_key_is_loaded_and_a_broken_one_not_shown(tmp_path: Path) -> None:
    """The error about a broken key holds nothing of it."""
    path = tmp_path / "key.pem"
    write_private_text(path, KEY.to_pem())
    assert load_signing_key(path) == KEY
    body = KEY.to_pem().splitlines()[1]
    write_private_text(path, KEY.to_pem().replace(body, body[:-8]))
    with pytest.raises(ConfigurationError, match=str(path)) as caught:
        load_signing_key(path)
    assert body[:12] not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_trust_file_is_loaded_and_a_broken_one_explained(tmp_path: Path) -> None:
    """Trust is public: the file may be open; what is wrong in it is said."""
    path = tmp_path / "trust.json"
    trust = Trust.of("https://issuer.example", KEY.public)
    path.write_text(trust.to_json(), "utf-8")
    assert load_trust(path) == trust
    path.write_text('{"issuers": {}}', "utf-8")
    with pytest.raises(ConfigurationError, match=rf"{path}: expected"):
        load_trust(path)


def test_a_token_is_loaded_by_its_shape(tmp_path: Path) -> None:
    """White space around a token is no part of it; what has not three parts is none."""
    path = tmp_path / "token"
    path.write_text("  e30.e30.c2ln\n", "utf-8")
    assert load_token(path) == "e30.e30.c2ln"
    for text in ("", "e30.e30", "a.b.c.d", "a.b.ñ", "a." + "b" * 9000 + ".c"):
        path.write_text(text, "utf-8")
        with pytest.raises(ConfigurationError, match="not a token"):
            load_token(path)


def test_an_nkey_is_new_each_time_and_its_public_half_follows() -> None:
    """Seeds differ, keys begin as NATS says, and the two halves belong together."""
    seed, public = new_nkey()
    assert seed.startswith("SU")
    assert public.startswith("U")
    assert len(public) == 56
    assert public_nkey(f" {seed}\n") == public
    assert new_nkey()[0] != seed


@settings(deadline=None)
@given(st.integers(0, 57), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_a_seed_with_a_wrong_letter_is_none(place: int, letter: str) -> None:
    """The checksum is looked at, and the error shows nothing of the seed."""
    seed = new_nkey()[0]
    wrong = seed[:place] + letter + seed[place + 1 :]
    if wrong != seed:
        with pytest.raises(ConfigurationError) as caught:
            public_nkey(wrong)
        assert wrong[:10] not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["nats-server: v2.15.1", "2.14.3", "v2.12.12", "2.12.13", "3.0.0", "2.15.0-beta.1"],
)
def test_a_good_server_version_is_taken(text: str) -> None:
    """The minimum itself and everything later, also of the older line that is kept up."""
    assert check_server_version(text) >= (2, 12, 12)


@pytest.mark.parametrize(
    "text", ["2.14.2", "v2.12.11", "2.13.9", "2.11.99", "1.99.99", "nats-server: v2.9.10"]
)
def test_an_old_server_version_is_refused(text: str) -> None:
    """A line that is not kept up does not profit from another line's minimum."""
    with pytest.raises(ConfigurationError, match="too old"):
        check_server_version(text)


@pytest.mark.parametrize("text", ["", "latest", "2.15", "2.15.1.7"])
def test_what_is_no_version_is_said(text: str) -> None:
    """A text without a version is not taken for a good one."""
    with pytest.raises(ConfigurationError, match="holds no version"):
        check_server_version(text)


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]), max_size=40)


@settings(deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_headers_come_back_as_they_went(headers: dict[str, str]) -> None:
    """Any names and printable values survive the way to bytes and back."""
    assert decode_headers(encode_headers(headers)) == headers


@pytest.mark.parametrize(
    ("name", "value"),
    [("A\r\nB", "x"), ("A:", "x"), ("", "x"), ("A B", "x"), ("A", "x\r\nB: y"), ("A", "\0")],
)
def test_a_header_cannot_smuggle_another(name: str, value: str) -> None:
    """Names are tokens and values hold no control characters, or nothing is encoded."""
    with pytest.raises(ValueError, match="cannot be sent"):
        encode_headers({name: value})


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_any_header_block_can_be_read(block: bytes) -> None:
    """Whatever stands in a block, reading it raises nothing."""
    assert isinstance(decode_headers(block), dict)
    assert 0 <= status(block) <= 999


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (None, 0),
        (b"NATS/1.0 503\r\n\r\n", 503),
        (b"NATS/1.0 404 No Messages\r\n\r\n", 404),
        (b"NATS/1.0\r\nA: 503\r\n\r\n", 0),
    ],
)
def test_a_status_stands_in_the_first_line(block: bytes | None, expected: int) -> None:
    """Only a status line counts, not a header that looks like one."""
    assert status(block) == expected
