"""`/collections/{name}/documents`: one document, or those that equal a filter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from mallku_client.arguments import given
from mallku_client.cursor import PageRequest
from mallku_client.http import shapes as s
from mallku_client.http.asking import Asked, Asking
from mallku_client.http.entity_tags import (
    ANY,
    entity_tag,
    expected_revision,
    is_known,
    refuse_other,
)
from mallku_client.http.later import answered_later
from mallku_client.http.pages import lines, link, page, wants_lines
from mallku_client.http.reading_queries import read_filters, read_sort
from mallku_client.http.values import Values
from mallku_contracts.dpop import API
from mallku_contracts.errors import (
    DocumentNotFound,
    InvalidArguments,
    RevisionMismatch,
    UniqueViolation,
)

MERGE_PATCH: Final = "application/merge-patch+json"
"""RFC 7396: null removes an attribute."""

router = APIRouter(prefix="/collections/{name}/documents", tags=["documents"])


def where(name: str, key: str) -> str:
    """Where a document is."""
    return f"{API}/collections/{name}/documents/{quote(key, safe='')}"


@router.post("", status_code=201, responses=s.written(201, "It is there now"))
async def insert(name: s.Name, document: s.Document, asked: Asked) -> Response:
    """Put in a new document."""
    if asked.is_async:
        return await answered_later(asked, name, "insert", {"document": document})
    meta = await asked.collection(name).insert(document, **asked.options)
    return _written(asked, name, meta, 201)


@router.get("", summary="Documents that equal a filter")
async def find(  # noqa: PLR0917 - parameters of the query
    request: Request,
    name: s.Name,
    asked: Asked,
    filter: s.Filter = None,
    sort: s.Sort = None,
    limit: s.Limit = None,
    skip: s.Skip = None,
    page_size: s.PageSize = None,
    after: s.After = None,
) -> Response:
    """Documents in the order of their keys, or sorted; a page, or all of them as lines."""
    wanted = PageRequest(
        filters=read_filters(filter),
        skip=skip,
        limit=limit,
        sort=read_sort(sort),
        batch_size=page_size,
        after=after,
    )
    documents, following = await _fetch(asked, name, wanted)
    if wants_lines(request) and asked.many:
        return lines(documents, _rest(asked, name, following))
    place = None
    if following is not None:
        place = link(request, skip=following.skip, limit=following.limit, after=following.after)
    if wants_lines(request):
        return lines(documents, _nothing(), following=place)
    return page(documents, place)


@router.get(
    "/{key}",
    summary="One document",
    responses={304: {"description": "The caller has this revision already"}},
)
async def get(
    name: s.Name,
    key: s.Key,
    asked: Asked,
    if_match: s.IfMatch = None,
    if_none_match: s.IfNoneMatch = None,
) -> Response:
    """One document, with its revision as `ETag`."""
    document = await asked.collection(name).get(key, **asked.reading)
    if document is None:
        raise _missing(name, key)
    refuse_other(if_match, document)
    tag = entity_tag(document)
    if is_known(if_none_match, document):
        return Response(status_code=304, headers=tag)
    return Values(document, headers=tag)


@router.head("/{key}", summary="Whether a document is there", status_code=204)
async def exists(name: s.Name, key: s.Key, asked: Asked) -> Response:
    """204 where it is there, 404 where it is not."""
    if not await asked.collection(name).has(key, **asked.reading):
        raise _missing(name, key)
    return Response(status_code=204)


@router.put(
    "/{key}",
    responses=s.written(200, "It stands in the other's place") | s.written(201, "It is new"),
)
async def replace(  # noqa: PLR0917 - path, content and headers
    name: s.Name,
    key: s.Key,
    document: s.Document,
    asked: Asked,
    if_match: s.IfMatch = None,
    if_none_match: s.IfNoneMatch = None,
) -> Response:
    """Put this document in the place of another; with `If-None-Match: *`, where none is."""
    named = _named(document, name, key)
    if if_none_match is not None:
        if if_none_match.strip() != ANY:
            raise InvalidArguments("If-None-Match: a document is put under `*` or under none")
        if if_match is not None:
            raise InvalidArguments(
                "If-Match: nothing has a revision where If-None-Match lets it be"
            )
        return await _put_new(asked, name, named)
    meant = named | given(_rev=expected_revision(if_match))
    if asked.is_async:
        return await answered_later(asked, name, "replace", {"document": meant})
    meta = await asked.collection(name).replace(meant, **asked.options)
    return _written(asked, name, meta, 200)


@router.patch("/{key}", responses=s.written(200, "It is changed"))
async def update(  # noqa: PLR0917 - as above
    request: Request,
    name: s.Name,
    key: s.Key,
    document: s.Document,
    asked: Asked,
    if_match: s.IfMatch = None,
) -> Response:
    """Change the given attributes; as `application/merge-patch+json`, null removes one."""
    meant = _named(document, name, key) | given(_rev=expected_revision(if_match))
    keep = False if request.headers.get("content-type", "").startswith(MERGE_PATCH) else None
    if asked.is_async:
        arguments = {"document": meant} | given(keep_none=keep)
        return await answered_later(asked, name, "update", arguments)
    meta = await asked.collection(name).update(meant, keep_none=keep, **asked.options)
    return _written(asked, name, meta, 200)


@router.delete("/{key}", status_code=204)
async def delete(name: s.Name, key: s.Key, asked: Asked, if_match: s.IfMatch = None) -> Response:
    """Remove a document."""
    revision = expected_revision(if_match)
    if asked.is_async:
        arguments = given(document=key, rev=revision)
        return await answered_later(asked, name, "delete", arguments)
    await asked.collection(name).delete(key, rev=revision, **asked.options)
    return Response(status_code=204, headers=asked.headers())


def _missing(name: str, key: str) -> DocumentNotFound:
    return DocumentNotFound(f"there is no document {name}/{key}")


async def _put_new(asked: Asking, name: str, document: dict[str, Any]) -> Response:
    try:
        meta = await asked.collection(name).insert(document, **asked.options)
    except UniqueViolation as error:
        raise RevisionMismatch(f"If-None-Match: {error.message}") from None
    return _written(asked, name, meta, 201)


def _written(asked: Asking, name: str, meta: Any, status: int) -> Response:
    headers = asked.headers() | entity_tag(meta) | {"Location": where(name, meta["_key"])}
    return Values(meta, status, headers)


def _named(document: dict[str, Any], name: str, key: str) -> dict[str, Any]:
    for field, meant in (("_key", key), ("_id", f"{name}/{key}")):
        if document.get(field, meant) != meant:
            raise InvalidArguments(f"{field}: the content names another document than the path")
    return document | {"_key": key}


async def _fetch(
    asked: Asking, name: str, wanted: PageRequest
) -> tuple[list[Any], PageRequest | None]:
    answer = await asked.db.command("find", name, wanted.arguments(), **asked.reading)
    return answer.result["documents"], wanted.following(answer.result)


async def _rest(
    asked: Asking, name: str, following: PageRequest | None
) -> AsyncIterator[list[Any]]:
    while following is not None:
        documents, following = await _fetch(asked, name, following)
        yield documents


async def _nothing() -> AsyncIterator[list[Any]]:
    return
    yield
