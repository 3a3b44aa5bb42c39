"""Published keys: fetched now and then over https, kept while the network fails, for a while."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mallku_broker.jwks import (
    FETCH_EVERY_S,
    FETCH_RETRY_S,
    MAX_JWKS_BYTES,
    MAX_KEYS_AGE_S,
    PublishedKeys,
    fetch_https,
)
from mallku_broker.trust import load_trust
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.keys import PublicKey
from tests.support.certificates import make_authority, make_certificate
from tests.support.issuers import ISSUER, ONE, TWO, jwk, published, write_trust


class _Publisher:
    """An issuer's answer, which a test changes, and a clock that it moves."""

    def __init__(self, *keys: PublicKey) -> None:
        self.answer: str | Exception = published(*map(jwk, keys))
        self.now_s = 0.0
        self.fetches = 0
        self.keys = PublishedKeys(self.fetch, lambda: self.now_s)

    def fetch(self) -> str:
        """The answer, or its failure."""
        self.fetches += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def look(self, after_s: float = 0.0) -> tuple[set[PublicKey], str]:
        """What there is later, once a fetch that is due then has ended."""
        self.now_s += after_s
        self.keys.look()
        self.keys.wait(5.0)
        keys, trouble = self.keys.look()
        return set(keys.values()), trouble


def test_published_keys_are_fetched_now_and_then() -> None:
    """Once at first, again after the interval, never in between; a removed key is gone then."""
    issuer = _Publisher(ONE)
    assert issuer.look() == ({ONE}, "")
    issuer.answer = published(jwk(TWO))
    assert issuer.look(FETCH_EVERY_S - 1) == ({ONE}, "")
    assert issuer.fetches == 1
    assert issuer.look(1) == ({TWO}, "")


def test_a_network_that_fails_takes_no_key_away_before_its_age() -> None:
    """Known keys stay while fetches fail, tried again soon; past their age they are dropped."""
    issuer = _Publisher(ONE)
    issuer.look()
    for failure in (OSError("no route"), "junk", published(jwk(ONE, "a"), jwk(TWO, "a"))):
        issuer.answer = failure if isinstance(failure, Exception) else str(failure)
        keys, trouble = issuer.look(FETCH_EVERY_S)
        assert keys == {ONE}
        assert trouble
    fetches = issuer.fetches
    issuer.look(FETCH_RETRY_S - 1)
    assert issuer.fetches == fetches
    issuer.look(1)
    assert issuer.fetches == fetches + 1
    assert issuer.look(MAX_KEYS_AGE_S)[0] == set()
    issuer.answer = published(jwk(TWO))
    assert issuer.look(FETCH_RETRY_S) == ({TWO}, "")


@contextmanager
def _https(folder: Path, respond: Callable[[BaseHTTPRequestHandler], None]) -> Generator[str]:
    """An HTTPS server on loopback whose authority is `ca.pem`; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            respond(self)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            """Say nothing."""

    authority = make_authority(folder, "ca")
    pair = make_certificate(folder, "server", authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_address[1]}/jwks?v=1"
        finally:
            server.shutdown()
            thread.join()


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def test_keys_come_over_https(tmp_path: Path) -> None:
    """A real server with a private authority is asked at its URL, and believed by its CA file."""
    body = published(jwk(ONE, "a")).encode()

    def respond(handler: BaseHTTPRequestHandler) -> None:
        _send(handler, 200 if handler.path == "/jwks?v=1" else 404, body)

    with _https(tmp_path, respond) as url:
        path = write_trust(tmp_path, first={"jwks_url": url, "ca_file": "ca.pem"})
        assert load_trust(path).key(ISSUER, "a") == ONE
        write_trust(tmp_path, first={"jwks_url": url})
        with pytest.raises(ConfigurationError, match="certificate verify failed"):
            load_trust(path)


def test_an_answer_that_is_no_jwks_is_an_error(tmp_path: Path) -> None:
    """Redirects are not followed, errors and endless answers are not read."""
    answers: list[tuple[int, bytes, dict[str, str]]] = [
        (302, b"", {"Location": "https://elsewhere.example/"}),
        (500, b"sorry", {}),
        (200, b"x" * (MAX_JWKS_BYTES + 1), {}),
    ]

    def respond(handler: BaseHTTPRequestHandler) -> None:
        status, body, headers = answers[0]
        _send(handler, status, body, **headers)

    with _https(tmp_path, respond) as url:
        for says in ("answers 302", "answers 500", "more than"):
            with pytest.raises(OSError, match=says):
                fetch_https(url, tmp_path / "ca.pem")
            answers.pop(0)
