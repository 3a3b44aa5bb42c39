"""An ArangoDB on loopback that speaks the documented HTTP API (manual of 3.12), for tests.

Collections, indexes, documents one by one and in arrays, cursors, stream transactions, graphs,
running queries, authentication by password and by token, overload. Stream transactions of a
database run one after another; what ArangoDB would answer to two at once is injected by tests.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import jwt

from mallku_contracts.errors import MallkuError
from tests.support import simulated_arango_catalog, simulated_arango_documents
from tests.support.simulated_arango_engine import Engine, Fault, fault_of, wall_clock_ms
from tests.support.simulated_arango_wire import VERSION, Answer, Asked, Dropped, done, failure

_ROUTES = (*simulated_arango_catalog.ROUTES, *simulated_arango_documents.ROUTES)

__all__ = ["VERSION", "Answer", "Asked", "Dropped", "SimulatedArango", "done", "failure"]


SECRET = "a secret of the simulated server's own, long enough"


TOKEN_LIFE_S = 3_600


@dataclass
class Running:
    """A query under way."""

    id: str
    query: str
    killed: threading.Event = field(default_factory=threading.Event)


Intercept = Callable[[Asked], Answer | None]
"""Looks at a request before it is served: None lets it pass, an answer takes its place."""


def _let_pass(_asked: Asked) -> Answer | None:
    return None


def _as_it_is(_asked: Asked, answer: Answer) -> Answer:
    return answer


class SimulatedArango:
    """A server with its databases.

    Attributes:
        asked: Every request, in order.
        before, after: Called around serving; tests inject faults with them.
        queue_s: How long requests wait at present, as far as clients are told, seconds.
        clock_ms: The server's clock.
        sharding: What a database says of its shards: nothing on a single server.
        hold: When set, queries wait for it before they run, or until they are killed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        databases: tuple[str, ...] = ("_system", "mallku"),
        users: dict[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.folder = folder
        self.users = {"root": ""} if users is None else users
        self.asked: list[Asked] = []
        self.before: Intercept = _let_pass
        self.after: Callable[[Asked, Answer], Answer] = _as_it_is
        self.queue_s = 0.0
        self.offset_ms = 0
        self.hold: threading.Event | None = None
        self.running: dict[str, Running] = {}
        self.logins = 0
        self.sharding: dict[str, Any] = {}
        self.cursors: dict[str, tuple[list[Any], int]] = {}
        self.mistakes: list[Exception] = []
        self._numbers = itertools.count(100)
        self._lock = threading.Lock()
        self.databases = {name: self._engine(name) for name in databases}
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.simulator = self
        self.scheme = "http"
        if tls is not None:
            self.scheme = "https"
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self.scheme}://127.0.0.1:{self._http.server_address[1]}"

    def clock_ms(self) -> int:
        """The server's clock, Unix milliseconds."""
        return wall_clock_ms() + self.offset_ms

    def close(self) -> None:
        """Stop serving; connections end."""
        self._http.shutdown()
        self._http.server_close()
        self._http.end_connections()
        self._thread.join()
        for mistake in self.mistakes:
            raise mistake
        for engine in self.databases.values():
            engine.close()

    def _engine(self, name: str) -> Engine:
        return Engine(self.folder / f"{name}.sqlite", self.clock_ms)

    def number(self) -> str:
        """A number that was never given before."""
        return str(next(self._numbers))

    # Serving

    def serve(self, asked: Asked) -> Answer:
        """The answer to a request; raises `Dropped` where there is none."""
        with self._lock:
            self.asked.append(asked)
        answer = self.before(asked)
        if answer is None:
            try:
                answer = self._route(asked)
            except Fault as fault:
                answer = failure(fault)
            except MallkuError as error:
                answer = failure(fault_of(error))
            except Dropped:
                raise
            except Exception as error:  # noqa: BLE001 - what a simulator gets wrong has to be seen
                self.mistakes.append(error)
                answer = failure(Fault(4, 500, repr(error)))
        return self.after(asked, answer)

    def _route(self, asked: Asked) -> Answer:
        if asked.path == "/_open/auth" and asked.method == "POST":
            return self._login(asked)
        self._authorize(asked)
        limit = asked.headers.get("x-arango-queue-time-seconds")
        if limit is not None and 0 < float(limit) < self.queue_s:
            raise Fault(21004, 412, "queue time violated")
        engine = self.databases.get(asked.database)
        if engine is None:
            raise Fault(1228, 404, "database not found")
        for method, pattern, act in _ROUTES:
            found = re.fullmatch(pattern, asked.path)
            if method == asked.method and found is not None:
                return act(self, engine, asked, *map(unquote, found.groups()))
        raise Fault(404, 404, f"unknown path '{asked.path}'")

    def _authorize(self, asked: Asked) -> None:
        kind, _, value = asked.headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            name, _, password = base64.b64decode(value).decode().partition(":")
            if self.users.get(name) == password:
                return
        if kind.lower() == "bearer":
            try:
                jwt.decode(value, SECRET, ["HS256"], options={"verify_iat": False})
            except jwt.InvalidTokenError:
                pass
            else:
                return
        raise Fault(11, 401, "not authorized to execute this request")

    def _login(self, asked: Asked) -> Answer:
        self.logins += 1
        name, password = asked.body.get("username"), asked.body.get("password")
        if self.users.get(name) != password:
            raise Fault(401, 401, "Wrong credentials")
        now = int(time.time())
        claims = {"iss": "arangodb", "iat": now, "exp": now + TOKEN_LIFE_S}
        token = jwt.encode({**claims, "preferred_username": name}, SECRET, "HS256")
        return Answer(200, {"jwt": token})

    # Queries

    def run_query(self, engine: Engine, asked: Asked) -> tuple[list[Any], dict[str, Any]]:
        """Run a query, which others can see and kill meanwhile."""
        body = asked.body
        running = Running(self.number(), body["query"])
        self.running[running.id] = running
        try:
            self._wait(running)
            with engine.session(asked.transaction) as session:
                return engine.query(session, body)
        finally:
            del self.running[running.id]

    def _wait(self, running: Running) -> None:
        hold = self.hold
        while hold is not None and not hold.wait(0.005):
            if running.killed.is_set():
                raise Fault(1500, 410, "AQL: query killed (while executing)")


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    simulator: SimulatedArango

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connections: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        """End what clients keep open."""
        for request in list(self.connections):
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are nothing to talk about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing."""

    def _serve(self) -> None:
        simulator = cast("_Http", self.server).simulator
        length = int(self.headers.get("content-length") or 0)
        data = self.rfile.read(length)
        if len(data) < length:  # whoever asked was killed meanwhile
            self.close_connection = True
            return
        asked = _taken_apart(self.command, self.path, dict(self.headers.items()), data)
        try:
            answer = simulator.serve(asked)
        except Dropped:
            self.close_connection = True
            return
        body = b"" if answer.body is None else _json(answer.body)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("content-type", "application/json; charset=utf-8")
        self.send_header("x-arango-queue-time-seconds", f"{simulator.queue_s:.6f}")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the base's names


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _taken_apart(method: str, target: str, headers: dict[str, str], data: bytes) -> Asked:
    parts = urlsplit(target)
    found = re.match(r"/_db/([^/]+)(/.*)", parts.path)
    database, path = (unquote(found[1]), found[2]) if found else ("_system", parts.path)
    return Asked(
        method,
        database,
        path,
        dict(parse_qsl(parts.query)),
        {name.lower(): value for name, value in headers.items()},
        json.loads(data) if data else None,
    )
