"""Exchanges with ArangoDB as files: recorded through a proxy, replayed by a server that is strict.

One exchange a line, as JSON: `case`, `source` (`recorded` from a server, or `documented` where none
was at hand), `server` (its version), `request` (method, path, params, body, headers that matter),
`response` (status, body).
Values that differ from run to run stand as placeholders, `<rev:3>` for the third revision that was
seen: a replayer makes values of them and knows them again in requests.
"""

from __future__ import annotations

import difflib
import http.client
import json
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

_REVISION = re.compile(r"_[A-Za-z0-9_-]{10}")
_NUMBER = re.compile(r"[0-9]+")
_MARK = re.compile(r"/\* mallku [0-9a-f]+-[0-9]+ \*/")
_TIMES = {
    "<now>": 0,
    "<expires_ms>": 2**45,
    "<expires>": 2**35,
    "<executionTime>": 0.0,
    "<peakMemoryUsage>": 0,
}
_PLACEHOLDER = re.compile(r"<(rev|number):([0-9]+)>")
_REVISIONS = frozenset({"_rev", "_oldRev", "_old_rev", "position", "touched"})
_NUMBERS = frozenset({"id", "_key", "_id", "key"})
_PASSING = frozenset(
    {
        "deadline",
        "expires",
        "expires_ms",
        "now",
        "maxRuntime",
        "executionTime",
        "peakMemoryUsage",
        "jwt",
        "identifiers",
        "peak_memory",
        "globallyUniqueId",
        "selectivityEstimate",
        "lastValue",
    }
)
"""What is different each time, or without meaning: replaced as a whole."""


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, with placeholders."""

    case: str
    source: str
    server: str
    request: dict[str, Any]
    response: dict[str, Any]


def load(path: Path) -> list[Exchange]:
    """The exchanges of a file, in order."""
    return [Exchange(**json.loads(line)) for line in path.read_text().splitlines() if line]


def save(path: Path, exchanges: Iterable[Exchange]) -> None:
    """Write a file anew."""
    lines = [json.dumps(vars(one), sort_keys=True, ensure_ascii=False) for one in exchanges]
    path.write_text("\n".join(lines) + "\n")


@dataclass
class Names:
    """Placeholders for values that were generated, the same for the same value."""

    known: dict[str, str] = field(default_factory=dict)

    def normal(self, value: Any, name: str = "") -> Any:
        """A value with placeholders for what was generated in it."""
        if name in _PASSING:
            return f"<{name}>"
        if isinstance(value, dict):
            return {key: self.normal(item, str(key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.normal(item, name) for item in value]
        if isinstance(value, str):
            return self._text(value, name)
        return value

    def _text(self, value: str, name: str) -> str:
        value = _MARK.sub("/* mallku <mark> */", value)
        if name in _REVISIONS and _REVISION.fullmatch(value):
            return self._placeholder("rev", value)
        if name in _NUMBERS:
            before, slash, last = value.rpartition("/")
            if _NUMBER.fullmatch(last):
                return f"{before}{slash}{self._placeholder('number', last)}"
        return value

    def path(self, value: str) -> str:
        """A path with placeholders for numbers that were seen before, or may be generated."""
        steps = [
            self._placeholder("number", step) if _NUMBER.fullmatch(step) else step
            for step in value.split("/")
        ]
        return "/".join(steps)

    def _placeholder(self, kind: str, value: str) -> str:
        if value not in self.known:
            number = sum(one.startswith(f"<{kind}:") for one in self.known.values()) + 1
            self.known[value] = f"<{kind}:{number}>"
        return self.known[value]

    def concrete(self, value: Any) -> Any:
        """A recorded value with values in the place of placeholders."""
        if isinstance(value, dict):
            return {key: self.concrete(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.concrete(item) for item in value]
        if isinstance(value, str):
            passing = _TIMES.get(value)
            return _PLACEHOLDER.sub(self._value, value) if passing is None else passing
        return value

    def _value(self, found: re.Match[str]) -> str:
        kind, number = found[1], int(found[2])
        value = f"_rev{number:07d}" if kind == "rev" else str(900_000 + number)
        self.known[value] = found[0]
        return value


@dataclass
class Taped:
    """What both servers here have in common: a thread, a port, and normal requests."""

    names: Names = field(default_factory=Names)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def request(self, method: str, target: str, data: bytes) -> dict[str, Any]:
        """A request without what is generated in it."""
        parts = urlsplit(target)
        return {
            "method": method,
            "path": self.names.path(parts.path),
            "params": dict(parse_qsl(parts.query)),
            "body": self.names.normal(json.loads(data)) if data else None,
        }

    def answer(
        self, method: str, target: str, headers: dict[str, str], data: bytes
    ) -> tuple[int, bytes]:
        """Status and body."""
        raise NotImplementedError


@dataclass
class Replayer(Taped):
    """Answers exactly the recorded requests, in their order; anything else is a mistake."""

    exchanges: list[Exchange] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)

    def answer(
        self, method: str, target: str, headers: dict[str, str], data: bytes
    ) -> tuple[int, bytes]:
        """The recorded answer; a 500 where the request is another one than was recorded."""
        with self._lock:
            asked = self.request(method, target, data)
            if not self.exchanges:
                return self._mistake(f"nothing was recorded behind this:\n{_lines(asked)}")
            expected = self.exchanges[0]
            if asked != expected.request:
                return self._mistake(_difference(expected, asked))
            del self.exchanges[0]
            body = self.names.concrete(expected.response["body"])
            return expected.response["status"], _encoded(body)

    def check(self, *, to_the_end: bool = True) -> None:
        """Nothing else was asked for, and everything unless that is still to come."""
        assert not self.mistakes, "\n\n".join(self.mistakes)
        assert not (to_the_end and self.exchanges), (
            f"{len(self.exchanges)} recorded exchanges were not asked for"
        )

    def _mistake(self, text: str) -> tuple[int, bytes]:
        self.mistakes.append(text)
        body = {"error": True, "code": 500, "errorNum": 4, "errorMessage": "not as recorded"}
        return 500, _encoded(body)


@dataclass
class Recorder(Taped):
    """Passes requests on to a server and writes down what was said."""

    target: str = ""
    source: str = "recorded"
    server: str = ""
    exchanges: list[Exchange] = field(default_factory=list)
    case: str = ""

    def answer(
        self, method: str, target: str, headers: dict[str, str], data: bytes
    ) -> tuple[int, bytes]:
        """The server's own answer."""
        with self._lock:
            asked = self.request(method, target, data)
            status, body = _forward(self.target, method, target, headers, data)
            said = self.names.normal(json.loads(body)) if body else ""
            if asked["path"] != "/_open/auth":
                response = {"status": status, "body": said}
                self.exchanges.append(
                    Exchange(self.case, self.source, self.server, asked, response)
                )
            return status, body


def _forward(
    url: str, method: str, target: str, headers: dict[str, str], data: bytes
) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    kept = {name: headers[name] for name in headers if name.lower() not in ("host", "connection")}
    connection.request(method, target, body=data or None, headers=kept)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def _encoded(body: Any) -> bytes:
    return b"" if body in ("", None) else json.dumps(body, ensure_ascii=False).encode()


def _lines(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)


def _difference(expected: Exchange, asked: dict[str, Any]) -> str:
    lines = difflib.unified_diff(
        _lines(expected.request).splitlines(),
        _lines(asked).splitlines(),
        f"recorded: {expected.case}",
        "asked",
        lineterm="",
    )
    return "\n".join(lines)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    owner: Taped


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing."""

    def _serve(self) -> None:
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        owner = cast("_Http", self.server).owner
        headers = dict(self.headers.items())
        status, body = owner.answer(self.command, self.path, headers, data)
        self.send_response(status)
        self.send_header("content-type", "application/json; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the base's names
