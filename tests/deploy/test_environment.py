from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values

from mallku_contracts.errors import ConfigurationError
from mallku_deploy.environment import read_env_file, settings_in, write_env_file

VALUES = {
    "MALLKU_API_GATEWAY_URL": "nats://127.0.0.1:4222",
    "MALLKU_KEY_FILE": '/a folder/with $HOME `and` "quotes" & more/key.pem',
    "MALLKU_PRINCIPAL": "mallku",
    "MALLKU_DATABASE": "",
    "MALLKU_TRUST_FILE": "/päth/#1;2/trust.json",
}


def _sourced(path: Path) -> dict[str, str]:
    script = f"set -a; . '{path}'; set +a; env -0"
    done = subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, check=True, timeout=10, env={}
    )
    pairs = (entry.partition("=") for entry in done.stdout.decode().split("\0") if entry)
    return {name: value for name, _, value in pairs if name.startswith("MALLKU_")}


def test_every_reader_reads_the_same(tmp_path: Path) -> None:
    """A shell, python-dotenv and our own reader find the values that were written."""
    path = tmp_path / "gateway.env"
    write_env_file(path, VALUES)
    assert _sourced(path) == VALUES
    assert dotenv_values(path) == VALUES
    assert read_env_file(path) == VALUES


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Also where a file that everybody could read stood before."""
    path = tmp_path / "gateway.env"
    path.write_text("old")
    path.chmod(0o644)
    write_env_file(path, VALUES)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("value", ["it's", "back\\slash", "new\nline", "${HOME}", "bell\x07"])
def test_what_readers_disagree_about_is_refused(tmp_path: Path, value: str) -> None:
    """A value that one of them would read differently is refused by its name."""
    with pytest.raises(ConfigurationError, match="MALLKU_KEY_FILE"):
        write_env_file(tmp_path / "gateway.env", {"MALLKU_KEY_FILE": value})


def test_comments_and_exports_are_understood(tmp_path: Path) -> None:
    """What people add to such a file by hand is read as a shell reads it."""
    path = tmp_path / "gateway.env"
    path.write_text('# mine\n\nexport A="one two"\nB=three\n')
    path.chmod(0o600)
    assert read_env_file(path) == {"A": "one two", "B": "three"}


@pytest.mark.parametrize("line", ["no value here", "A=b c", "1A=b"])
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    """The error says file and line."""
    path = tmp_path / "gateway.env"
    path.write_text(f"A=b\n{line}\n")
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match=r"gateway\.env.*line 2: expected NAME=value"):
        read_env_file(path)


def test_a_folder_says_whose_it_is(tmp_path: Path) -> None:
    """By its name where no token lies in it; a principal that is named comes first."""
    folder = tmp_path / "someone"
    folder.mkdir()
    found = {"MALLKU_CREDENTIALS": str(folder)}
    assert settings_in({}).principal is None
    assert settings_in(found).principal == "someone"
    assert settings_in(found | {"MALLKU_PRINCIPAL": "mallku"}).principal == "mallku"
    (folder / "token.jwt").write_text("no token")
    with pytest.raises(ConfigurationError, match="token file"):
        settings_in(found)
