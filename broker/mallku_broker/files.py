"""Files and folders with secrets and settings in them: refused when missing or open to others."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from mallku_contracts.errors import ConfigurationError
from mallku_contracts.keys import KeyFormatError, SigningKey
from mallku_contracts.limits import MAX_TOKEN_BYTES, MIB
from mallku_contracts.trail.digests import Digests, read_key_text

MAX_FILE_BYTES: Final = 4 * MIB
"""A key, token, trust or policy file, bytes."""

PRIVATE_MODE: Final = 0o600
PRIVATE_FOLDER_MODE: Final = 0o700
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def read_text(path: Path, what: str, *, most: int = MAX_FILE_BYTES) -> str:
    """The UTF-8 text of a file; `what` names its purpose in errors, as in "trust file".

    Args:
        most: How large it may be, bytes.

    Raises:
        ConfigurationError: it is missing, unreadable, no regular file, too large or not UTF-8.
    """
    return _read(path, what, most, private=False)


def read_private_text(path: Path, what: str, *, most: int = MAX_FILE_BYTES) -> str:
    """As `read_text`, and refused when group or others may do anything with the file.

    The check is made on the open file, so that it cannot be exchanged in between.
    """
    return _read(path, what, most, private=True)


def write_private_text(path: Path, text: str) -> None:
    """Write a file that only its owner can read (0600), whole or not at all, and synced.

    Raises:
        ConfigurationError: the folder is missing or cannot be written.
    """
    try:
        _replace(path, text)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error


def create_private_text(path: Path, text: str) -> None:
    """Make a new file that only its owner can read (0600); one that is there is left alone.

    Raises:
        ConfigurationError: there is a file already, or the folder is missing or cannot be written.
    """
    try:
        _create(path, text)
    except FileExistsError:
        raise ConfigurationError(f"{path} is there already; a key is never overwritten") from None
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error


def make_private_folder(folder: Path, what: str = "folder") -> None:
    """Make a folder that only its owner can enter (0700), with its parents, or find it closed.

    Raises:
        ConfigurationError: it cannot be made, or group or others may do anything with it.
    """
    try:
        folder.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        raise ConfigurationError(f"{what} {folder}: {error.strerror}") from error
    _refuse_open(status, folder, what, PRIVATE_FOLDER_MODE)


def load_signing_key(path: Path) -> SigningKey:
    """The Ed25519 signing key in a private PKCS#8 PEM file; the error never holds any of it."""
    text = read_private_text(path, "key file")
    try:
        return SigningKey.from_pem(text)
    except KeyFormatError as error:
        raise ConfigurationError(f"key file {path}: {error}") from None


def load_digests(path: Path) -> Digests:
    """The key for keyed hashes in a private file of hexadecimal digits."""
    text = read_private_text(path, "digest key file")
    try:
        return read_key_text(text)
    except ValueError as error:
        raise ConfigurationError(f"digest key file {path}: {error}") from None


def load_token(path: Path) -> str:
    """The token in a token file, without the white space around it.

    Only its shape is looked at (RFC 7519: three parts); a token alone opens nothing, so that the
    file may be readable by others.
    """
    token = read_text(path, "token file").strip()
    if len(token) > MAX_TOKEN_BYTES or not token.isascii() or len(token.split(".")) != 3:  # noqa: PLR2004  # RFC 7515: header, payload, signature
        raise ConfigurationError(f"token file {path}: this is not a token in compact form")
    return token


def _read(path: Path, what: str, most: int, *, private: bool) -> str:
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            _check(os.fstat(file.fileno()), path, what, private=private)
            data = file.read(most + 1)
    except OSError as error:
        raise ConfigurationError(f"{what} {path}: {error.strerror}") from error
    if len(data) > most:
        raise ConfigurationError(f"{what} {path}: larger than {most} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{what} {path}: not UTF-8 text") from None


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for somebody who writes into a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _check(status: os.stat_result, path: Path, what: str, *, private: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"{what} {path}: not a regular file")
    if private:
        _refuse_open(status, path, what, PRIVATE_MODE)


def _refuse_open(status: os.stat_result, path: Path, what: str, wanted: int) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if mode & _OTHERS:
        raise ConfigurationError(
            f"{what} {path}: others may use it (mode {mode:04o}); run: chmod {wanted:o} {path}"
        )


def _create(path: Path, text: str) -> None:
    """`O_EXCL`: nobody's file is written into, not even through a link that was laid here."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_MODE)
    try:
        _fill(descriptor, text)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _fill(descriptor: int, text: str) -> None:
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), PRIVATE_MODE)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        _fill(descriptor, text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
