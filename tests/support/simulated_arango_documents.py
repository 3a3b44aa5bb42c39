"""Documents, cursors, queries and transactions of the simulated ArangoDB."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mallku_contracts.errors import MallkuError
from mallku_workers.stores.embedded.catalog import Collection
from mallku_workers.stores.embedded.session import Session
from tests.support.simulated_arango_engine import Engine, Fault, fault_of
from tests.support.simulated_arango_wire import NAME, Answer, Asked, done, failure

if TYPE_CHECKING:
    from tests.support.simulated_arango import SimulatedArango


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
    return Answer(200, [{"id": one.id, "query": one.query} for one in list(sim.running.values())])


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
    names = {name for given in collections.values() for name in given}
    lock = names == {"mallku_ledger"}
    engine.begin(number, float(asked.body.get("lockTimeout", 900)), lock=lock)
    return done({"result": {"id": number, "status": "running"}}, 201)


def _commit(_sim: SimulatedArango, engine: Engine, _asked: Asked, number: str) -> Answer:
    engine.end(number, commit=True)
    return done({"result": {"id": number, "status": "committed"}})


def _abort(_sim: SimulatedArango, engine: Engine, _asked: Asked, number: str) -> Answer:
    engine.end(number, commit=False)
    return done({"result": {"id": number, "status": "aborted"}})


ROUTES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("GET", f"/_api/document/{NAME}/{NAME}", _get_document),
    ("HEAD", f"/_api/document/{NAME}/{NAME}", _get_document),
    ("PUT", f"/_api/document/{NAME}/{NAME}", _put_document),
    ("PATCH", f"/_api/document/{NAME}/{NAME}", _patch_document),
    ("DELETE", f"/_api/document/{NAME}/{NAME}", _delete_document),
    ("POST", f"/_api/document/{NAME}", _post_document),
    ("PUT", f"/_api/document/{NAME}", _put_documents),
    ("PATCH", f"/_api/document/{NAME}", _patch_documents),
    ("DELETE", f"/_api/document/{NAME}", _delete_documents),
    ("POST", "/_api/cursor", _cursor),
    ("POST", f"/_api/cursor/{NAME}", _next_rows),
    ("PUT", f"/_api/cursor/{NAME}", _next_rows),
    ("DELETE", f"/_api/cursor/{NAME}", _end_cursor),
    ("POST", "/_api/explain", _explain),
    ("GET", "/_api/query/current", _current_queries),
    ("DELETE", f"/_api/query/{NAME}", _kill_query),
    ("POST", "/_api/transaction/begin", _begin),
    ("PUT", f"/_api/transaction/{NAME}", _commit),
    ("DELETE", f"/_api/transaction/{NAME}", _abort),
)
"""Method, path, and who answers."""
