"""How a worker proves to ArangoDB who it is; the password is in no repr, log or error."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import jwt
from arango.response import Response

from mallku_contracts.errors import ConfigurationError, MallkuError, StoreFailure

RENEW_AT: Final = 0.8
"""A token is fetched anew after this part of its life."""

SHORTEST_LIFE_S: Final = 1.0
"""The least life that a token is credited with, seconds."""

_LOGIN: Final = "/_open/auth"
_OK: Final = 200

Login = Callable[[str, bytes], Response]
"""Sends a body to a path without being authorized."""


class Credentials:
    """The `Authorization` header of every request.

    Args:
        kind: `basic` sends name and password each time; `jwt` fetches a token for them first.
    """

    def __init__(self, kind: str, username: str, password: str) -> None:
        self._kind = kind
        self._username = username
        self._password = password
        self._header: str | None = None
        self._ends = 0.0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Credentials({self._kind}, {self._username!r})"

    def header(self, login: Login) -> str | None:
        """The header's value.

        Raises:
            ConfigurationError: ArangoDB does not know this name and password.
        """
        if self._kind == "basic":
            pair = f"{self._username}:{self._password}".encode()
            return "Basic " + base64.b64encode(pair).decode()
        with self._lock:
            if self._header is None or time.monotonic() >= self._ends:
                self._fetch(login)
            return self._header

    def renew(self) -> bool:
        """Forget the token; whether another may be believed where this one was not."""
        if self._kind == "basic":
            return False
        with self._lock:
            known, self._header = self._header, None
        return known is not None

    def _fetch(self, login: Login) -> None:
        body = json.dumps({"username": self._username, "password": self._password}).encode()
        asked = time.monotonic()
        response = login(_LOGIN, body)
        if response.status_code != _OK:
            raise _refusal(response)
        token = _token(response.raw_body)
        self._header = f"bearer {token}"
        self._ends = asked + RENEW_AT * _life_s(token)


def _refusal(response: Response) -> MallkuError:
    if response.status_code in (401, 403):
        return ConfigurationError("ArangoDB does not believe the worker's name and password")
    return StoreFailure(f"ArangoDB gave no token (HTTP status {response.status_code})")


def _token(text: str) -> str:
    try:
        body: Any = json.loads(text)
        token = body["jwt"]
    except (ValueError, KeyError, TypeError):
        raise StoreFailure("ArangoDB's answer to a login holds no token") from None
    return str(token)


def _life_s(token: str) -> float:
    """How long a token lives by its own account, whatever our clock says.

    What it says is not verified: it is ArangoDB's, and shown to nobody but ArangoDB.
    """
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
        return max(float(claims["exp"] - claims["iat"]), SHORTEST_LIFE_S)
    except (jwt.InvalidTokenError, KeyError, TypeError):
        return SHORTEST_LIFE_S
