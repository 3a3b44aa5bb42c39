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

from mallku_contracts import arguments as a
from mallku_contracts.errors import GraphNotFound, IndexNotFound, MallkuError
from mallku_workers.stores.embedded import collections as catalog_changes
from mallku_workers.stores.embedded import graphs, indexes
from mallku_workers.stores.embedded.catalog import Collection
from mallku_workers.stores.embedded.session import Session
from tests.support.simulated_arango_engine import Engine, Fault, fault_of, wall_clock_ms

VERSION = "3.12.4"
SECRET = "a secret of the simulated server's own, long enough"
TOKEN_LIFE_S = 3_600


@dataclass
class Asked:
    """One request, taken apart."""

    method: str
    database: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: Any

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A parameter that says yes or no."""
        value = self.params.get(name)
        return default if value is None else value.lower() in ("1", "true", "yes")

    @property
    def transaction(self) -> str | None:
        """The stream transaction that it is part of."""
        return self.headers.get("x-arango-trx-id")


@dataclass
class Answer:
    """A status, a body, and headers besides."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


class Dropped(Exception):
    """The connection ends without an answer."""


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


def failure(fault: Fault) -> Answer:
    """The body of an error."""
    return Answer(
        fault.status,
        {
            "error": True,
            "code": fault.status,
            "errorNum": fault.number,
            "errorMessage": fault.message,
        },
    )


def done(body: dict[str, Any], status: int = 200) -> Answer:
    """A body with the marks of success."""
    return Answer(status, {"error": False, "code": status, **body})


# --- what is served ---


def _version(_sim: SimulatedArango, _engine: Engine, _asked: Asked) -> Answer:
    return Answer(200, {"server": "arango", "license": "community", "version": VERSION})


def _collection_body(engine: Engine, collection: Collection) -> dict[str, Any]:
    return {
        "id": str(collection.id),
        "name": collection.name,
        "status": 3,
        "type": 3 if collection.edge else 2,
        "isSystem": collection.name.startswith("_"),
    }


def _list_collections(_sim: SimulatedArango, engine: Engine, asked: Asked) -> Answer:
    with engine.session() as session:
        known = session.catalog.collections.values()
        result = [_collection_body(engine, one) for one in known]
    if asked.flag("excludeSystem"):
        result = [one for one in result if not one["isSystem"]]
    return done({"result": result})


def _create_collection(_sim: SimulatedArango, engine: Engine, asked: Asked) -> Answer:
    with engine.session() as session:
        edge = asked.body.get("type", 2) == 3
        made = engine.create_collection(session, asked.body["name"], edge=edge)
        durable = {
            name: asked.body[name]
            for name in ("waitForSync", "replicationFactor", "writeConcern", "numberOfShards")
            if name in asked.body
        }
        engine.properties[made.name] = {"waitForSync": False, **durable}
        return done({**_collection_body(engine, made), **engine.properties[made.name]})


def _read_collection(_sim: SimulatedArango, engine: Engine, _asked: Asked, name: str) -> Answer:
    with engine.session() as session:
        return done(_collection_body(engine, engine.collection(session, name)))


def _properties(_sim: SimulatedArango, engine: Engine, _asked: Asked, name: str) -> Answer:
    with engine.session() as session:
        known = _collection_body(engine, engine.collection(session, name))
        return done({**known, **engine.properties.get(name, {"waitForSync": False})})


def _count(_sim: SimulatedArango, engine: Engine, asked: Asked, name: str) -> Answer:
    with engine.session(asked.transaction) as session:
        collection = engine.collection(session, name)
        session.flush()
        number = catalog_changes.count_documents(session.connection, collection)
        return done({**_collection_body(engine, collection), "count": number})


def _truncate(_sim: SimulatedArango, engine: Engine, asked: Asked, name: str) -> Answer:
    with engine.session(asked.transaction) as session:
        collection = engine.collection(session, name)
        catalog_changes.truncate(session, name, a.NoArguments())
        return done(_collection_body(engine, collection))


def _drop_collection(_sim: SimulatedArango, engine: Engine, _asked: Asked, name: str) -> Answer:
    with engine.session() as session:
        collection = engine.collection(session, name)
        catalog_changes.drop_collection(session, name, a.DropCollection())
        engine.extra.pop(name, None)
        return done({"id": str(collection.id)})


def _list_indexes(_sim: SimulatedArango, engine: Engine, asked: Asked) -> Answer:
    with engine.session() as session:
        collection = engine.collection(session, asked.params["collection"])
        listed: list[dict[str, Any]] = [dict(one) for one in indexes.list_indexes(collection)]
    listed += engine.extra.get(collection.name, [])
    return done({"indexes": listed, "identifiers": {one["id"]: one for one in listed}})


def _create_index(sim: SimulatedArango, engine: Engine, asked: Asked) -> Answer:
    body, name = asked.body, asked.params["collection"]
    if not body["fields"]:
        raise Fault(10, 400, "bad parameter")
    with engine.session() as session:
        collection = engine.collection(session, name)
        if body["type"] != "persistent":
            return _extra_index(sim, engine, name, body)
        wanted = body.get("name")
        same = tuple(body["fields"]), body.get("unique", False), body.get("sparse", False)
        for known in collection.persistent:
            is_same = (known.fields, known.unique, known.sparse) == same
            if known.name == wanted and not is_same:
                raise Fault(1207, 409, f"duplicate value: index name '{wanted}' already in use")
        arguments = a.CreateIndex(
            fields=body["fields"],
            name=wanted,
            unique=body.get("unique", False),
            sparse=body.get("sparse", False),
        )
        made: dict[str, Any] = dict(indexes.create_index(session, name, arguments))
    new = made.pop("new")
    return done({**made, "isNewlyCreated": new}, 201 if new else 200)


def _extra_index(sim: SimulatedArango, engine: Engine, name: str, body: dict[str, Any]) -> Answer:
    listed = engine.extra.setdefault(name, [])
    for known in listed:
        if (known["type"], known["fields"]) == (body["type"], body["fields"]):
            return done({**known, "isNewlyCreated": False})
    listed.append({"id": f"{name}/{sim.number()}", "unique": False, "sparse": False, **body})
    return done({**listed[-1], "isNewlyCreated": True}, 201)


def _drop_index(
    _sim: SimulatedArango, engine: Engine, _asked: Asked, name: str, index: str
) -> Answer:
    with engine.session() as session:
        engine.collection(session, name)
        try:
            indexes.drop_index(session, name, a.DropIndex(index=index))
        except IndexNotFound:
            raise Fault(1212, 404, "index not found") from None
        return done({"id": f"{name}/{index}"})


def _get_document(
    _sim: SimulatedArango, engine: Engine, asked: Asked, name: str, key: str
) -> Answer:
    with engine.session(asked.transaction) as session:
        document = session.get(engine.collection(session, name), key)
        if document is None:
            raise Fault(1202, 404, "document not found")
        wanted = asked.headers.get("if-match")
        if wanted is not None and wanted.strip('"') != document["_rev"]:
            return _precondition(document)
        return Answer(200, dict(document), {"etag": f'"{document["_rev"]}"'})


def _precondition(document: dict[str, Any]) -> Answer:
    answer = failure(Fault(1200, 412, "precondition failed"))
    answer.body |= {name: document[name] for name in ("_id", "_key", "_rev")}
    return answer


def _options(operation: str, asked: Asked) -> dict[str, Any]:
    options: dict[str, Any] = {"return_old": asked.flag("returnOld")}
    if operation != "delete":
        options["return_new"] = asked.flag("returnNew")
    if operation == "insert":
        options["overwrite"] = asked.flag("overwrite")
        if "overwriteMode" in asked.params:
            options["overwrite_mode"] = asked.params["overwriteMode"]
    else:
        options["check_rev"] = not asked.flag("ignoreRevs", default=True)
    if operation == "update":
        options["keep_none"] = asked.flag("keepNull", default=True)
        options["merge"] = asked.flag("mergeObjects", default=True)
    return options


def _write_one(operation: str, engine: Engine, asked: Asked, name: str, document: Any) -> Answer:
    with engine.session(asked.transaction) as session:
        collection = engine.collection(session, name)
        result = _tried(
            operation, engine, session, collection, document, _options(operation, asked)
        )
        if isinstance(result, Fault):
            if result.number == 1200:
                current = session.get(collection, document["_key"])
                return _precondition(current or {})
            raise result
        return Answer(202, result)


def _write_array(operation: str, engine: Engine, asked: Asked, name: str) -> Answer:
    with engine.session(asked.transaction) as session:
        collection = engine.collection(session, name)
        options = _options(operation, asked)
        results = [
            _tried(operation, engine, session, collection, document, options)
            for document in asked.body
        ]
    entries = [_entry(one) if isinstance(one, Fault) else one for one in results]
    errors = [one.number for one in results if isinstance(one, Fault)]
    counted = {str(number): errors.count(number) for number in errors}
    headers = {"x-arango-error-codes": json.dumps(counted)} if errors else {}
    return Answer(202, entries, headers)


def _tried(  # noqa: PLR0917 - everything that a write needs
    operation: str,
    engine: Engine,
    session: Session,
    collection: Collection,
    document: Any,
    options: dict[str, Any],
) -> dict[str, Any] | Fault:
    if not isinstance(document, dict | str) or (
        operation != "delete" and isinstance(document, str)
    ):
        return Fault(1227, 400, "invalid document type")
    try:
        return engine.write(session, operation, collection, document, options)
    except Fault as fault:
        return fault
    except MallkuError as error:
        return fault_of(error)


def _entry(fault: Fault) -> dict[str, Any]:
    return {"error": True, "errorNum": fault.number, "errorMessage": fault.message}


def _post_document(_sim: SimulatedArango, engine: Engine, asked: Asked, name: str) -> Answer:
    if isinstance(asked.body, list):
        return _write_array("insert", engine, asked, name)
    return _write_one("insert", engine, asked, name, asked.body)


def _put_documents(_sim: SimulatedArango, engine: Engine, asked: Asked, name: str) -> Answer:
    if not asked.flag("onlyget"):
        return _write_array("replace", engine, asked, name)
    with engine.session(asked.transaction) as session:
        collection = engine.collection(session, name)
        keys = [one if isinstance(one, str) else one["_key"] for one in asked.body]
        missing = _entry(Fault(1202, 404, "document not found"))
        return Answer(200, [dict(session.get(collection, key) or missing) for key in keys])


def _patch_documents(_sim: SimulatedArango, engine: Engine, asked: Asked, name: str) -> Answer:
    return _write_array("update", engine, asked, name)


def _delete_documents(_sim: SimulatedArango, engine: Engine, asked: Asked, name: str) -> Answer:
    return _write_array("delete", engine, asked, name)


def _put_document(
    _sim: SimulatedArango, engine: Engine, asked: Asked, name: str, key: str
) -> Answer:
    return _write_one("replace", engine, asked, name, {**asked.body, "_key": key})


def _patch_document(
    _sim: SimulatedArango, engine: Engine, asked: Asked, name: str, key: str
) -> Answer:
    return _write_one("update", engine, asked, name, {**asked.body, "_key": key})


def _delete_document(
    _sim: SimulatedArango, engine: Engine, asked: Asked, name: str, key: str
) -> Answer:
    rev = asked.headers.get("if-match")
    named = {"_key": key} if rev is None else {"_key": key, "_rev": rev.strip('"')}
    if rev is not None:
        asked.params.setdefault("ignoreRevs", "false")
    return _write_one("delete", engine, asked, name, named)


def _cursor(sim: SimulatedArango, engine: Engine, asked: Asked) -> Answer:
    try:
        rows, extra = sim.run_query(engine, asked)
    except MallkuError as error:
        fault = fault_of(error)
        raise Fault(fault.number, fault.status, f"AQL: {fault.message}") from None
    size = asked.body.get("batchSize", 1_000)
    body = {"result": rows[:size], "hasMore": len(rows) > size, "cached": False, "extra": extra}
    if asked.body.get("count"):
        body["count"] = len(rows)
    if body["hasMore"]:
        body["id"] = sim.number()
        sim.cursors[body["id"]] = (rows[size:], size)
    return done(body, 201)


def _next_rows(sim: SimulatedArango, _engine: Engine, _asked: Asked, number: str) -> Answer:
    if number not in sim.cursors:
        raise Fault(1600, 404, "cursor not found")
    rows, size = sim.cursors.pop(number)
    if len(rows) > size:
        sim.cursors[number] = (rows[size:], size)
    more = len(rows) > size
    return done({"result": rows[:size], "hasMore": more, "id": number, "extra": {}})


def _end_cursor(sim: SimulatedArango, _engine: Engine, _asked: Asked, number: str) -> Answer:
    if sim.cursors.pop(number, None) is None:
        raise Fault(1600, 404, "cursor not found")
    return done({"id": number}, 202)


def _explain(_sim: SimulatedArango, engine: Engine, asked: Asked) -> Answer:
    with engine.session() as session:
        return done({"plan": engine.explain(session, asked.body), "warnings": []})


def _current_queries(sim: SimulatedArango, _engine: Engine, _asked: Asked) -> Answer:
    return Answer(200, [{"id": one.id, "query": one.query} for one in sim.running.values()])


def _kill_query(sim: SimulatedArango, _engine: Engine, _asked: Asked, number: str) -> Answer:
    running = sim.running.get(number)
    if running is None:
        raise Fault(1591, 404, "query ID not found")
    running.killed.set()
    return done({})


def _begin(sim: SimulatedArango, engine: Engine, asked: Asked) -> Answer:
    collections = asked.body["collections"]
    with engine.session() as session:
        for names in collections.values():
            for name in [names] if isinstance(names, str) else names:
                engine.collection(session, name)
    number = sim.number()
    engine.begin(number, float(asked.body.get("lockTimeout", 900)))
    return done({"result": {"id": number, "status": "running"}}, 201)


def _commit(_sim: SimulatedArango, engine: Engine, _asked: Asked, number: str) -> Answer:
    engine.end(number, commit=True)
    return done({"result": {"id": number, "status": "committed"}})


def _abort(_sim: SimulatedArango, engine: Engine, _asked: Asked, number: str) -> Answer:
    engine.end(number, commit=False)
    return done({"result": {"id": number, "status": "aborted"}})


def _graph_body(info: dict[str, Any]) -> dict[str, Any]:
    return {
        "_key": info["name"],
        "name": info["name"],
        "edgeDefinitions": [
            {
                "collection": one["edge_collection"],
                "from": one["from_vertex_collections"],
                "to": one["to_vertex_collections"],
            }
            for one in info["edge_definitions"]
        ],
        "orphanCollections": info["orphan_collections"],
    }


def _list_graphs(_sim: SimulatedArango, engine: Engine, _asked: Asked) -> Answer:
    with engine.session() as session:
        known = [dict(one) for one in graphs.list_graphs(session.catalog)]
    return done({"graphs": [_graph_body(one) for one in known]})


def _create_graph(_sim: SimulatedArango, engine: Engine, asked: Asked) -> Answer:
    definitions = [
        a.EdgeDefinition(
            edge_collection=one["collection"],
            from_vertex_collections=one["from"],
            to_vertex_collections=one["to"],
        )
        for one in asked.body["edgeDefinitions"]
    ]
    arguments = a.CreateGraph(
        name=asked.body["name"],
        edge_definitions=definitions,
        orphan_collections=asked.body.get("orphanCollections", []),
    )
    with engine.session() as session:
        made = dict(graphs.create_graph(session, "", arguments))
    return done({"graph": _graph_body(made)}, 202)


def _read_graph(_sim: SimulatedArango, engine: Engine, _asked: Asked, name: str) -> Answer:
    with engine.session() as session:
        for known in graphs.list_graphs(session.catalog):
            if known["name"] == name:
                return done({"graph": _graph_body(dict(known))})
    raise GraphNotFound(f"graph '{name}' not found")


def _drop_graph(_sim: SimulatedArango, engine: Engine, _asked: Asked, name: str) -> Answer:
    with engine.session() as session:
        graphs.drop_graph(session, "", a.DropGraph(name=name))
    return done({"removed": True}, 202)


def _list_databases(sim: SimulatedArango, _engine: Engine, _asked: Asked) -> Answer:
    return done({"result": sorted(sim.databases)})


def _create_database(sim: SimulatedArango, _engine: Engine, asked: Asked) -> Answer:
    name = asked.body["name"]
    if name in sim.databases:
        raise Fault(1207, 409, "duplicate name")
    sim.databases[name] = sim._engine(name)
    return done({"result": True}, 201)


def _drop_database(sim: SimulatedArango, _engine: Engine, _asked: Asked, name: str) -> Answer:
    engine = sim.databases.pop(name, None)
    if engine is None:
        raise Fault(1228, 404, "database not found")
    engine.close()
    engine.path.unlink()
    return done({"result": True})


_NAME = r"([^/]+)"
_ROUTES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("GET", "/_api/version", _version),
    ("GET", "/_api/database", _list_databases),
    ("POST", "/_api/database", _create_database),
    ("DELETE", f"/_api/database/{_NAME}", _drop_database),
    ("GET", "/_api/collection", _list_collections),
    ("POST", "/_api/collection", _create_collection),
    ("GET", f"/_api/collection/{_NAME}", _read_collection),
    ("DELETE", f"/_api/collection/{_NAME}", _drop_collection),
    ("GET", f"/_api/collection/{_NAME}/properties", _properties),
    ("GET", f"/_api/collection/{_NAME}/count", _count),
    ("PUT", f"/_api/collection/{_NAME}/truncate", _truncate),
    ("GET", "/_api/index", _list_indexes),
    ("POST", "/_api/index", _create_index),
    ("DELETE", f"/_api/index/{_NAME}/{_NAME}", _drop_index),
    ("GET", f"/_api/document/{_NAME}/{_NAME}", _get_document),
    ("HEAD", f"/_api/document/{_NAME}/{_NAME}", _get_document),
    ("PUT", f"/_api/document/{_NAME}/{_NAME}", _put_document),
    ("PATCH", f"/_api/document/{_NAME}/{_NAME}", _patch_document),
    ("DELETE", f"/_api/document/{_NAME}/{_NAME}", _delete_document),
    ("POST", f"/_api/document/{_NAME}", _post_document),
    ("PUT", f"/_api/document/{_NAME}", _put_documents),
    ("PATCH", f"/_api/document/{_NAME}", _patch_documents),
    ("DELETE", f"/_api/document/{_NAME}", _delete_documents),
    ("POST", "/_api/cursor", _cursor),
    ("POST", f"/_api/cursor/{_NAME}", _next_rows),
    ("PUT", f"/_api/cursor/{_NAME}", _next_rows),
    ("DELETE", f"/_api/cursor/{_NAME}", _end_cursor),
    ("POST", "/_api/explain", _explain),
    ("GET", "/_api/query/current", _current_queries),
    ("DELETE", f"/_api/query/{_NAME}", _kill_query),
    ("POST", "/_api/transaction/begin", _begin),
    ("PUT", f"/_api/transaction/{_NAME}", _commit),
    ("DELETE", f"/_api/transaction/{_NAME}", _abort),
    ("GET", "/_api/gharial", _list_graphs),
    ("POST", "/_api/gharial", _create_graph),
    ("GET", f"/_api/gharial/{_NAME}", _read_graph),
    ("DELETE", f"/_api/gharial/{_NAME}", _drop_graph),
)


# --- HTTP ---


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
