"""Collections, indexes, graphs and databases of the simulated ArangoDB."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from mallku_contracts import arguments as a
from mallku_contracts.errors import IndexNotFound
from mallku_workers.stores.embedded import collections as catalog_changes
from mallku_workers.stores.embedded import graphs, indexes
from mallku_workers.stores.embedded.catalog import Collection
from mallku_workers.stores.embedded.session import Session
from tests.support.simulated_arango_engine import Engine, Fault
from tests.support.simulated_arango_wire import NAME, VERSION, Answer, Asked, done

if TYPE_CHECKING:
    from tests.support.simulated_arango import SimulatedArango


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
    with engine.catalog() as session:
        known = session.catalog.collections.values()
        result = [_collection_body(engine, one) for one in known]
    if asked.flag("excludeSystem"):
        result = [one for one in result if not one["isSystem"]]
    return done({"result": result})


def _create_collection(_sim: SimulatedArango, engine: Engine, asked: Asked) -> Answer:
    with engine.catalog() as session:
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
    with engine.catalog() as session:
        return done(_collection_body(engine, engine.collection(session, name)))


def _properties(_sim: SimulatedArango, engine: Engine, _asked: Asked, name: str) -> Answer:
    with engine.catalog() as session:
        known = _collection_body(engine, engine.collection(session, name))
        return done({**known, **engine.properties.get(name, {"waitForSync": False})})


def _session(engine: Engine, asked: Asked) -> AbstractContextManager[Session]:
    return engine.session(asked.transaction) if asked.transaction else engine.catalog()


def _count(_sim: SimulatedArango, engine: Engine, asked: Asked, name: str) -> Answer:
    with _session(engine, asked) as session:
        collection = engine.collection(session, name)
        session.flush()
        number = catalog_changes.count_documents(session.connection, collection)
        return done({**_collection_body(engine, collection), "count": number})


def _truncate(_sim: SimulatedArango, engine: Engine, asked: Asked, name: str) -> Answer:
    with _session(engine, asked) as session:
        collection = engine.collection(session, name)
        catalog_changes.truncate(session, name, a.NoArguments())
        return done(_collection_body(engine, collection))


def _drop_collection(_sim: SimulatedArango, engine: Engine, _asked: Asked, name: str) -> Answer:
    with engine.catalog() as session:
        collection = engine.collection(session, name)
        catalog_changes.drop_collection(session, name, a.DropCollection())
        engine.extra.pop(name, None)
        return done({"id": str(collection.id)})


def _list_indexes(_sim: SimulatedArango, engine: Engine, asked: Asked) -> Answer:
    with engine.catalog() as session:
        collection = engine.collection(session, asked.params["collection"])
        listed: list[dict[str, Any]] = [dict(one) for one in indexes.list_indexes(collection)]
    listed += engine.extra.get(collection.name, [])
    return done({"indexes": listed, "identifiers": {one["id"]: one for one in listed}})


def _create_index(sim: SimulatedArango, engine: Engine, asked: Asked) -> Answer:
    body, name = asked.body, asked.params["collection"]
    if not body["fields"]:
        raise Fault(10, 400, "bad parameter")
    with engine.catalog() as session:
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
    with engine.catalog() as session:
        engine.collection(session, name)
        try:
            indexes.drop_index(session, name, a.DropIndex(index=index))
        except IndexNotFound:
            raise Fault(1212, 404, "index not found") from None
        return done({"id": f"{name}/{index}"})


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
    with engine.catalog() as session:
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
    with engine.catalog() as session:
        made = dict(graphs.create_graph(session, "", arguments))
    return done({"graph": _graph_body(made)}, 202)


def _read_graph(_sim: SimulatedArango, engine: Engine, _asked: Asked, name: str) -> Answer:
    with engine.catalog() as session:
        for known in graphs.list_graphs(session.catalog):
            if known["name"] == name:
                return done({"graph": _graph_body(dict(known))})
    raise Fault(1924, 404, f"graph '{name}' not found")


def _drop_graph(_sim: SimulatedArango, engine: Engine, _asked: Asked, name: str) -> Answer:
    with engine.catalog() as session:
        graphs.drop_graph(session, "", a.DropGraph(name=name))
    return done({"removed": True}, 202)


def _list_databases(sim: SimulatedArango, _engine: Engine, _asked: Asked) -> Answer:
    return done({"result": sorted(sim.databases)})


def _current_database(sim: SimulatedArango, _engine: Engine, asked: Asked) -> Answer:
    described = {"name": asked.database, "id": "1", "isSystem": asked.database == "_system"}
    return done({"result": {**described, "path": "none", **sim.sharding}})


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


ROUTES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("GET", "/_api/version", _version),
    ("GET", "/_api/database", _list_databases),
    ("GET", "/_api/database/current", _current_database),
    ("POST", "/_api/database", _create_database),
    ("DELETE", f"/_api/database/{NAME}", _drop_database),
    ("GET", "/_api/collection", _list_collections),
    ("POST", "/_api/collection", _create_collection),
    ("GET", f"/_api/collection/{NAME}", _read_collection),
    ("DELETE", f"/_api/collection/{NAME}", _drop_collection),
    ("GET", f"/_api/collection/{NAME}/properties", _properties),
    ("GET", f"/_api/collection/{NAME}/count", _count),
    ("PUT", f"/_api/collection/{NAME}/truncate", _truncate),
    ("GET", "/_api/index", _list_indexes),
    ("POST", "/_api/index", _create_index),
    ("DELETE", f"/_api/index/{NAME}/{NAME}", _drop_index),
    ("GET", "/_api/gharial", _list_graphs),
    ("POST", "/_api/gharial", _create_graph),
    ("GET", f"/_api/gharial/{NAME}", _read_graph),
    ("DELETE", f"/_api/gharial/{NAME}", _drop_graph),
)
"""Method, path, and who answers."""
