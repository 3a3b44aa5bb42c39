"""`/collections`: what there is, how it is indexed, and several documents at once."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter
from starlette.responses import Response

from mallku_client.arguments import asked as flagged
from mallku_client.arguments import given
from mallku_client.http import shapes as s
from mallku_client.http.asking import Asked
from mallku_client.http.later import answered_later
from mallku_client.http.reading_queries import read_filters
from mallku_client.http.values import Values
from mallku_contracts.dpop import API

router = APIRouter(prefix="/collections", tags=["collections"])

_BATCHES: Final = {
    "get": "get-many",
    "insert": "insert-many",
    "update": "update-many",
    "replace": "replace-many",
    "delete": "delete-many",
}


@router.get("", summary="All collections")
async def list_collections(asked: Asked) -> Response:
    """`{"name", "type"}` of each collection that the caller may know."""
    answer = await asked.db.command("list-collections", None, {}, **asked.reading)
    return Values({"result": answer.result})


@router.post("", status_code=201)
async def create_collection(new: s.NewCollection, asked: Asked) -> Response:
    """Make a collection of documents, or of edges."""
    answer = await asked.db.command(
        "create-collection", new.name, flagged(edge=new.edge), **asked.options
    )
    headers = asked.headers() | {"Location": f"{API}/collections/{new.name}"}
    return Values(answer.result, 201, headers)


@router.get("/{name}")
async def describe_collection(name: s.Name, asked: Asked) -> Response:
    """Name, type, number of documents and of indexes."""
    return Values(await asked.collection(name).describe(**asked.reading))


@router.delete("/{name}", status_code=204)
async def drop_collection(name: s.Name, asked: Asked) -> Response:
    """Remove a collection with everything in it."""
    await asked.db.command("drop-collection", name, {}, **asked.options)
    return Response(status_code=204, headers=asked.headers())


@router.get("/{name}/count")
async def count(name: s.Name, asked: Asked, filter: s.Filter = None) -> Response:
    """How many documents there are, or how many equal a filter."""
    number = await asked.collection(name).count(read_filters(filter), **asked.reading)
    return Values({"count": number})


@router.post("/{name}/batches")
async def batch(name: s.Name, wanted: s.Batch, asked: Asked) -> Response:
    """One operation on several documents: a result, or `{"error": …}`, for each in their order."""
    operation = _BATCHES[wanted.operation]
    arguments: dict[str, Any] = {"documents": wanted.documents}
    if operation == "get-many":
        answer = await asked.db.command(operation, name, arguments, **asked.reading)
        return Values({"result": answer.result})
    if asked.is_async:
        return await answered_later(asked, name, operation, arguments)
    answer = await asked.db.command(operation, name, arguments, **asked.options)
    return Values({"result": answer.result}, headers=asked.headers())


@router.get("/{name}/indexes")
async def list_indexes(name: s.Name, asked: Asked) -> Response:
    """All indexes of the collection."""
    return Values({"result": await asked.collection(name).indexes(**asked.reading)})


@router.post("/{name}/indexes", status_code=201)
async def create_index(name: s.Name, new: s.NewIndex, asked: Asked) -> Response:
    """Make a persistent index; asking again for the same one is no error."""
    wanted = {"type": "persistent", "fields": new.fields} | given(name=new.name)
    data = wanted | flagged(unique=new.unique, sparse=new.sparse)
    info = await asked.collection(name).add_index(data, **asked.options)
    place = f"{API}/collections/{name}/indexes/{quote(info['name'], safe='')}"
    return Values(info, 201, asked.headers() | {"Location": place})


@router.delete("/{name}/indexes/{index}", status_code=204)
async def drop_index(name: s.Name, index: s.IndexName, asked: Asked) -> Response:
    """Remove an index by its name."""
    await asked.collection(name).delete_index(index, **asked.options)
    return Response(status_code=204, headers=asked.headers())
