"""Streams encrypted at rest: what lies on disk shows nothing, with another key nothing opens."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import psutil
import pytest

from mallku_broker.configuration import ServerConfiguration, StoreEncryption
from mallku_broker.files import write_private_text
from mallku_broker.streams import AUDIT
from mallku_contracts.errors import ConfigurationError
from tests.support.nats import WORKER_RECORDS, NatsHouse, nats_house

SECRET = b"ayllu-" + b"quipucamayoc" * 4
SUBJECT = "mallku.v1.audit.mallku.mallku.anchors.insert.intent"


def _key_file(folder: Path, name: str = "streams.key") -> Path:
    path = folder / name
    write_private_text(path, secrets.token_hex(32) + "\n")
    return path


async def _write(house: NatsHouse, number: int = 1) -> None:
    """One more record in the audit stream, acknowledged with this number."""
    async with house.connection(WORKER_RECORDS) as records:
        answer = await records.request(SUBJECT, SECRET, timeout=5)
        assert json.loads(answer.data)["seq"] == number


async def _read(house: NatsHouse) -> bytes:
    """The record, as an administrator gets it."""
    async with house.connection("administrator") as administrator:
        answer = await administrator.jetstream().get_msg(AUDIT, 1)
        assert answer.data is not None
        return answer.data


def _found(folder: Path) -> list[Path]:
    """The files that hold the record or its subject as they are."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".blk" for path in files)
    return [
        path for path in files if SECRET in (data := path.read_bytes()) or SUBJECT.encode() in data
    ]


async def test_without_a_key_everybody_who_has_the_disk_can_read(tmp_path: Path) -> None:
    """The search below finds what lies open; else it would prove nothing."""
    async with nats_house(tmp_path) as house:
        await _write(house)
    assert _found(tmp_path / "streams")


@pytest.mark.parametrize("cipher", ["chachapoly", "aes"])
async def test_with_a_key_the_disk_shows_nothing(tmp_path: Path, cipher: str) -> None:
    """Neither body nor subject lies open; with the key everything is there after a restart."""
    encryption = StoreEncryption(_key_file(tmp_path), cipher)  # type: ignore[arg-type]  # as listed
    for first in (True, False):
        async with nats_house(tmp_path / "nats", encryption=encryption) as house:
            if first:
                await _write(house)
            assert await _read(house) == SECRET
        assert _found(tmp_path / "nats" / "streams") == []


async def test_the_key_is_in_no_argument_and_no_configuration(tmp_path: Path) -> None:
    """Neither the process list nor a file of the server's shows it, and nobody's `repr` does."""
    path = _key_file(tmp_path)
    key = path.read_text().strip()
    async with nats_house(tmp_path / "nats", encryption=StoreEncryption(path)) as house:
        assert house.server.pid is not None
        assert key not in " ".join(psutil.Process(house.server.pid).cmdline())
        assert key not in repr(house.server.configuration)
        await house.server.reload(house.server.configuration)
        await _write(house)
    for file in (tmp_path / "nats").rglob("*"):
        if file.is_file():
            assert key.encode() not in file.read_bytes(), file


async def test_what_lay_open_is_encrypted_with_the_next_start(tmp_path: Path) -> None:
    """Encryption can be switched on later: bodies at once, subjects with the next record.

    The server writes its index of subjects anew when something has changed.
    """
    folder = tmp_path / "nats" / "streams"
    async with nats_house(tmp_path / "nats") as house:
        await _write(house)
    encryption = StoreEncryption(_key_file(tmp_path))
    async with nats_house(tmp_path / "nats", encryption=encryption) as house:
        assert await _read(house) == SECRET
        assert [path for path in folder.rglob("*.blk") if SECRET in path.read_bytes()] == []
        await _write(house, number=2)
    assert _found(tmp_path / "nats" / "streams") == []


async def test_a_key_is_changed_without_losing_anything(tmp_path: Path) -> None:
    """With the former key beside it the new one takes over; afterwards it is enough by itself."""
    old, new = _key_file(tmp_path, "old"), _key_file(tmp_path, "new")
    async with nats_house(tmp_path / "nats", encryption=StoreEncryption(old)) as house:
        await _write(house)
    both = StoreEncryption(new, former_key_file=old)
    async with nats_house(tmp_path / "nats", encryption=both) as house:
        assert await _read(house) == SECRET
    async with nats_house(tmp_path / "nats", encryption=StoreEncryption(new)) as house:
        assert await _read(house) == SECRET
    assert _found(tmp_path / "nats" / "streams") == []


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        ("k" * 32, 0o640, "chmod 600"),
        ("k" * 31, 0o600, "at least 32"),
        ("", 0o600, "at least 32"),
        ('"' + "k" * 40, 0o600, "letters, digits"),
        ("k" * 20 + "\n" + "k" * 20, 0o600, "one line"),
        ("$" + "k" * 40, 0o600, "letters, digits"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_named(
    tmp_path: Path, text: str, mode: int, says: str
) -> None:
    """Open to others, too short, or with characters that the server reads otherwise."""
    path = tmp_path / "streams.key"
    path.write_text(text)
    path.chmod(mode)
    configuration = ServerConfiguration(tmp_path, (), encryption=StoreEncryption(path))
    with pytest.raises(ConfigurationError, match=f"stream key file {path}.*{says}"):
        configuration.environment()


def test_no_text_becomes_the_key(tmp_path: Path) -> None:
    """A name that looks like the variable stays a name."""
    extra = {"server_tags": ['"key": "$MALLKU_STORE_KEY"', '\n    "key": "$MALLKU_STORE_KEY"']}
    plain = ServerConfiguration(tmp_path, (), extra=extra).to_text()
    assert '"key": $' not in plain
    encrypted = ServerConfiguration(
        tmp_path, (), extra=extra, encryption=StoreEncryption(tmp_path / "k")
    ).to_text()
    assert encrypted.count('"key": $MALLKU_STORE_KEY') == 1
