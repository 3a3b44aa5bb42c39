"""An issuer's keys as it publishes them at a URL, fetched in the background and remembered."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mallku_broker.files import read_text
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.limits import KIB
from mallku_contracts.trust import Keys, read_jwks

if TYPE_CHECKING:  # imported when it is used
    from http.client import HTTPResponse
    from ssl import SSLContext

FETCH_EVERY_S: Final = 300.0
"""Between two fetches of an issuer's published keys, seconds; a key that is gone counts until."""

FETCH_RETRY_S: Final = 10.0
"""After a fetch that failed, seconds."""

FETCH_TIMEOUT_S: Final = 5.0
"""One fetch, seconds."""

MAX_KEYS_AGE_S: Final = 86_400.0
"""How long fetched keys are believed while no fetch succeeds, seconds; then they are dropped."""

MAX_JWKS_BYTES: Final = 256 * KIB
"""What an issuer may publish, bytes."""

_CHUNK_BYTES: Final = 64 * KIB
_OK: Final = 200


class PublishedKeys:
    """The keys behind one URL; `look` never waits, and starts a fetch in a thread when one is due.

    Args:
        fetch: Brings the JWK set's text; raises `OSError` or `ConfigurationError`.
    """

    def __init__(
        self, fetch: Callable[[], str], monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._monotonic_s = monotonic_s
        self._keys: Keys = {}
        self._trouble = "not fetched yet"
        self._fetched_s = -math.inf
        self._due_s = -math.inf
        self._thread: threading.Thread | None = None

    def look(self) -> tuple[Keys, str]:
        """The keys as they were fetched last, and what is wrong with newer ones, if anything."""
        now_s = self._monotonic_s()
        if now_s >= self._due_s and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._run, name="jwks", daemon=True)
            self._thread.start()
        if self._keys and now_s - self._fetched_s > MAX_KEYS_AGE_S:
            self._keys = {}
        return self._keys, self._trouble

    def wait(self, timeout_s: float) -> None:
        """Wait until the fetch under way is over, at most so long."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            keys = read_jwks(self._fetch())
        except (OSError, ConfigurationError, ValueError) as error:  # a URL may be none
            self._trouble = str(error) or type(error).__name__
            self._due_s = self._monotonic_s() + FETCH_RETRY_S
            return
        self._keys, self._trouble = keys, ""
        self._fetched_s = self._monotonic_s()
        self._due_s = self._fetched_s + FETCH_EVERY_S


def fetch_https(url: str, ca_file: Path | None, timeout_s: float = FETCH_TIMEOUT_S) -> str:
    """The text at an https URL: no redirects, no proxy, at most `MAX_JWKS_BYTES`.

    Raises:
        OSError: the server cannot be reached, is not believed, or answers otherwise.
        ConfigurationError: `ca_file` cannot be used.
    """
    from http.client import HTTPException, HTTPSConnection

    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    ends_s = time.monotonic() + timeout_s
    connection = HTTPSConnection(
        parts.hostname or "", parts.port, timeout=timeout_s, context=_context(ca_file)
    )
    try:
        connection.request("GET", target, headers={"Accept": "application/json"})
        return _read_bounded(connection.getresponse(), ends_s)
    except HTTPException as error:
        raise OSError(f"no HTTP: {error!r}") from error
    finally:
        connection.close()


def _context(ca_file: Path | None) -> SSLContext:
    import ssl

    authority = None if ca_file is None else read_text(ca_file, "CA file")
    context = ssl.create_default_context(cadata=authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _read_bounded(response: HTTPResponse, ends_s: float) -> str:
    if response.status != _OK:
        raise OSError(f"the server answers {response.status}")
    data = b""
    while chunk := response.read1(_CHUNK_BYTES):
        data += chunk
        if len(data) > MAX_JWKS_BYTES:
            raise OSError(f"more than {MAX_JWKS_BYTES} bytes")
        if time.monotonic() > ends_s:
            raise TimeoutError("the answer takes too long")
    return data.decode("utf-8", "replace")
