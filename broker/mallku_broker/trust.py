"""Trusted issuers out of a file and the places that it names, looked at again while in use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from mallku_broker.files import read_text
from mallku_broker.jwks import FETCH_TIMEOUT_S, PublishedKeys, fetch_https
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.trust import (
    Keys,
    KeySource,
    Trust,
    TrustError,
    merge_keys,
    read_jwks,
    read_key_file,
    read_trust_document,
)

LOOK_EVERY_S: Final = 1.0
"""Trust is looked at no more often than this, seconds; a key that was removed counts as long."""

Complain = Callable[[str], None]
"""Told what is wrong with a change of the trust, once for each fault; must not raise."""


def load_trust(path: Path) -> Trust:
    """The issuers whose tokens are believed, from a trust file and the places that it names.

    Raises:
        ConfigurationError: naming the file, and where it is wrong; also when published keys cannot
            be fetched.
    """
    troubles: list[str] = []
    trust = TrustFile(path, troubles.append).trust
    if troubles:
        raise ConfigurationError(troubles[0])
    return trust


class TrustFile:
    """The issuers that a trust file names, read again while in use.

    What changes for the worse is complained of, and the former state stays for the part concerned:
    the whole when the file itself cannot be used, one issuer's keys when these cannot. Keys that
    were taken away are gone with the next look. Making one may wait for published keys, a bounded
    time; looking again never waits.

    Args:
        look_every_s: `changed` looks no more often than this, seconds.

    Attributes:
        trust: The trust to judge by now; another object whenever its content is another.

    Raises:
        ConfigurationError: the file, or a file or folder that it names, cannot be used.
    """

    def __init__(
        self,
        path: Path,
        complain: Complain,
        *,
        look_every_s: float = LOOK_EVERY_S,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._complain = complain
        self._look_every_s = look_every_s
        self._monotonic_s = monotonic_s
        self._published: dict[KeySource, PublishedKeys] = {}
        self._troubles: set[str] = set()
        self.trust = self._begin()
        self._next_look_s = monotonic_s() + look_every_s

    def changed(self) -> bool:
        """Look if it is time to; whether `trust` is another one since."""
        now_s = self._monotonic_s()
        if now_s < self._next_look_s:
            return False
        self._next_look_s = now_s + self._look_every_s
        return self.look()

    def look(self) -> bool:
        """Read everything again; whether `trust` is another one since."""
        troubles: list[str] = []
        try:
            trust = self._gather(troubles, self.trust)
        except (ConfigurationError, TrustError) as error:
            trust, troubles = self.trust, [self._say(error)]
        self._tell(troubles)
        if trust == self.trust:
            return False
        self.trust = trust
        return True

    def _begin(self) -> Trust:
        """The first trust: files have to be in order, published keys may come later."""
        try:
            troubles: list[str] = []
            trust = self._gather(troubles, None)
            if self._published:
                for published in self._published.values():
                    published.wait(FETCH_TIMEOUT_S)
                troubles.clear()
                trust = self._gather(troubles, None)
        except (ConfigurationError, TrustError) as error:
            raise ConfigurationError(self._say(error)) from None
        self._tell(troubles)
        return trust

    def _gather(self, troubles: list[str], former: Trust | None) -> Trust:
        """Read everything; without a `former` trust to fall back on, what is wrong is raised."""
        issuers: dict[str, Keys] = {}
        for issuer, keys in read_trust_document(read_text(self._path, "trust file")).items():
            if not isinstance(keys, KeySource):
                issuers[issuer] = keys
                continue
            try:
                issuers[issuer], trouble = self._find(keys, empty_is_fine=former is not None)
            except (ConfigurationError, TrustError) as error:
                if former is None:
                    raise TrustError(f"issuer {issuer!r}: {_text(error)}") from None
                issuers[issuer], trouble = former.issuers.get(issuer, {}), _text(error)
            if trouble:
                troubles.append(f"trust file {self._path}: issuer {issuer!r}: {trouble}")
        return Trust(issuers)

    def _find(self, source: KeySource, *, empty_is_fine: bool) -> tuple[Keys, str]:
        if source.kind == "jwks_url":
            return self._fetched(source)
        place = self._path.parent / source.place
        if source.kind == "directory":
            keys = merge_keys(_read_folder(place))
        else:
            keys = _read_jwks_file(place)
        if keys:
            return keys, ""
        if not empty_is_fine:
            raise TrustError(f"{place}: there is no Ed25519 key")
        return keys, f"{place}: there is no Ed25519 key, none of its tokens is believed"

    def _fetched(self, source: KeySource) -> tuple[Keys, str]:
        if source not in self._published:
            ca_file = None if source.ca_file is None else self._path.parent / source.ca_file
            fetch = partial(fetch_https, source.place, ca_file)
            self._published[source] = PublishedKeys(fetch, self._monotonic_s)
        keys, trouble = self._published[source].look()
        return keys, f"{source.place}: {trouble}" if trouble else ""

    def _say(self, error: Exception) -> str:
        text = _text(error)
        return text if text.startswith("trust file") else f"trust file {self._path}: {text}"

    def _tell(self, troubles: list[str]) -> None:
        for trouble in troubles:
            if trouble not in self._troubles:
                self._complain(trouble)
        self._troubles = set(troubles)


def _text(error: Exception) -> str:
    return error.message if isinstance(error, ConfigurationError) else str(error)


def _read_folder(folder: Path) -> Iterator[Keys]:
    """The keys in the PEM files of a folder; files of other names are none."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".pem")
    except OSError as error:
        raise ConfigurationError(f"folder {folder}: {error.strerror}") from None
    for path in paths:
        try:
            yield read_key_file(path.stem, read_text(path, "public key file"))
        except TrustError as error:
            raise TrustError(f"{folder}: {error}") from None


def _read_jwks_file(path: Path) -> Keys:
    try:
        return read_jwks(read_text(path, "JWKS file"))
    except TrustError as error:
        raise TrustError(f"JWKS file {path}: {error}") from None
