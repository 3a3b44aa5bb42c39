"""`/queries`: AQL, page by page or as lines; `/transactions`, `/commands`, `/jobs`, `/graphs`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from mallku_client.arguments import asked as flagged
from mallku_client.arguments import given
from mallku_client.http import shapes as s
from mallku_client.http.asking import Asked, Asking
from mallku_client.http.later import answered_later
from mallku_client.http.pages import lines, page, wants_lines
from mallku_client.http.values import Values
from mallku_contracts.dpop import API
from mallku_contracts.errors import InvalidArguments, MallkuError, NotSupported
from mallku_contracts.limits import MAX_NAME_CHARS
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.results import CursorInfo

router = APIRouter()
_CLOSING: Final[set[asyncio.Task[None]]] = set()  # the event loop itself holds no task

FIRST_PAGE: Final = 1
_WORD: Final = rf"^[A-Za-z0-9_-]{{1,{MAX_NAME_CHARS}}}$"

Worker = Annotated[str, Path(pattern=_WORD, description="The worker that holds the rest")]
CursorId = Annotated[str, Path(pattern=_WORD, description="The rest's name there")]
PageNumber = Annotated[int, Path(ge=FIRST_PAGE, le=2**31, description="From 1")]


@router.post("/queries", tags=["queries"])
async def query(request: Request, wanted: s.QueryText, asked: Asked) -> Response:
    """Run a query: its first page and where the next one is, or all rows as lines."""
    arguments = given(
        query=wanted.query, batch_size=wanted.batch_size, bind_vars=wanted.bind_vars or None
    ) | flagged(count=wanted.count, full_count=wanted.full_count, explain=wanted.explain)
    answer = await asked.db.command("aql", None, arguments, **asked.options)
    first: dict[str, Any] = dict(answer.result)
    rows, cursor = first.pop("result"), first.pop("cursor", None)
    more = first.pop("more", False)
    held: CursorInfo | None = cursor if more else None
    place = None if held is None else _place(held["worker"], held["id"], FIRST_PAGE + 1)
    if wants_lines(request):
        if held is None or not asked.many:
            response = lines(rows, _rest(asked, None), following=place)
        else:
            given_up = partial(_give_back, asked, held)
            response = lines(rows, _rest(asked, held), given_up=given_up)
    else:
        response = page(rows, place, **first)
    response.headers.update(asked.headers())
    return response


@router.get("/queries/{worker}/{cursor}/pages/{number}", tags=["queries"])
async def next_page(worker: Worker, cursor: CursorId, number: PageNumber, asked: Asked) -> Response:
    """A further page of a query; asking again for the last one gives the same."""
    answer = await asked.commands.ask_worker(
        worker, {"cursor": cursor, "page": number}, timeout_s=asked.wait_s
    )
    place = _place(worker, cursor, number + 1) if answer.result["more"] else None
    return page(answer.result["result"], place)


@router.delete("/queries/{worker}/{cursor}", status_code=204, tags=["queries"])
async def close_cursor(worker: Worker, cursor: CursorId, asked: Asked) -> Response:
    """Give the rest of a query back."""
    await asked.commands.ask_worker(
        worker, {"cursor": cursor, "close": True}, timeout_s=asked.wait_s
    )
    return Response(status_code=204)


@router.post("/transactions", tags=["commands"])
async def transaction(wanted: s.Steps, asked: Asked) -> Response:
    """Several writes, all or none; what each of them would have answered alone."""
    arguments = {"steps": [step.model_dump() for step in wanted.steps]}
    if asked.is_async:
        return await answered_later(asked, None, "transaction", arguments)
    answer = await asked.db.command("transaction", None, arguments, **asked.options)
    return Values({"result": answer.result}, headers=asked.headers())


@router.post("/commands", tags=["commands"])
async def command(wanted: s.AnyCommand, asked: Asked) -> Response:
    """Any operation by its name, with its arguments as they go over the wire."""
    operation = OPERATIONS.get(wanted.operation)
    if operation is None:
        raise InvalidArguments(f"{wanted.operation[:MAX_NAME_CHARS]!r} is no operation")
    if operation.name == "next":
        raise NotSupported(f"pages of a query have paths of their own: {API}/queries")
    if asked.is_async and operation.mutates:
        return await answered_later(asked, wanted.collection, operation.name, wanted.arguments)
    answer = await asked.db.command(
        operation.name, wanted.collection, wanted.arguments, **asked.options
    )
    return Values({"result": answer.result}, headers=asked.headers())


@router.get("/jobs/{key}", tags=["jobs"])
async def outcome(key: s.JobKey, asked: Asked) -> Response:
    """What became of a job, or of any change, by its idempotency key."""
    arguments = {"idempotency_key": key}
    answer = await asked.db.command("outcome", None, arguments, **asked.reading)
    return Values(answer.result)


@router.get("/graphs", tags=["graphs"])
async def list_graphs(asked: Asked) -> Response:
    """All named graphs."""
    return Values({"result": await asked.db.graphs(**asked.reading)})


@router.get("/flags", tags=["flags"])
async def describe_flags(asked: Asked) -> Response:
    """The flags in force for the caller."""
    return Values(await asked.db.describe_flags(**asked.reading))


def _place(worker: str, cursor: str, number: int) -> str:
    return f"{API}/queries/{worker}/{cursor}/pages/{number}"


def _give_back(asked: Asking, held: CursorInfo) -> None:
    """Close the rest of a query that nobody reads any more; who asked has gone."""
    closing = asyncio.create_task(_close(asked, held))
    _CLOSING.add(closing)
    closing.add_done_callback(_CLOSING.discard)


async def _close(asked: Asking, held: CursorInfo) -> None:
    arguments = {"cursor": held["id"], "close": True}
    with contextlib.suppress(MallkuError):  # it ends by itself, later
        await asked.commands.ask_worker(held["worker"], arguments, timeout_s=asked.wait_s)


async def _rest(asked: Asking, held: CursorInfo | None) -> AsyncIterator[list[Any]]:
    number = FIRST_PAGE
    while held is not None:
        number += 1
        arguments = {"cursor": held["id"], "page": number}
        answer = await asked.commands.ask_worker(held["worker"], arguments, timeout_s=asked.wait_s)
        yield answer.result["result"]
        held = held if answer.result["more"] else None
