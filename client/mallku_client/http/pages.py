"""Many documents or rows in an answer: a page with a link to the next, or a stream of lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from mallku_client.http.problems import body_of, status_of
from mallku_client.http.values import Values, encode
from mallku_client.http.who import path_of
from mallku_contracts.errors import MallkuError

NDJSON: Final = "application/x-ndjson"


def wants_lines(request: Request) -> bool:
    """Whether the caller takes one JSON value a line."""
    return NDJSON in request.headers.get("accept", "")


def page(rows: list[Any], following: str | None, **more: Any) -> Response:
    """One page; `following` is where the next one is."""
    return Values({"result": rows, "next": following, **more}, headers=_next(following))


def lines(
    rows: list[Any],
    rest: AsyncIterator[list[Any]],
    *,
    following: str | None = None,
    given_up: Callable[[], None] | None = None,
) -> Response:
    """Every row as a line; an error on the way is the last line, as `{"error": …}`.

    Args:
        following: Where more is that `rest` does not bring.
        given_up: Called when the caller leaves before the end.
    """
    content = _lines(rows, rest, given_up)
    return StreamingResponse(content, headers=_next(following), media_type=NDJSON)


def _next(following: str | None) -> dict[str, str]:
    return {} if following is None else {"Link": f'<{following}>; rel="next"'}


async def _lines(
    rows: list[Any], rest: AsyncIterator[list[Any]], given_up: Callable[[], None] | None
) -> AsyncIterator[bytes]:
    has_ended = False
    try:
        yield _encoded(rows)
        async for more in rest:
            yield _encoded(more)
        has_ended = True
    except MallkuError as error:
        yield _encoded([{"error": body_of(error, status_of(error))}])
    finally:
        if given_up is not None and not has_ended:
            given_up()


def _encoded(rows: list[Any]) -> bytes:
    return b"".join(encode(row) + b"\n" for row in rows)


def link(request: Request, **changes: str | int | None) -> str:
    """This request's path with other parameters; those that become None are left out."""
    parameters: dict[str, Any] = {**request.query_params, **changes}
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"{path_of(request)}?{urlencode(given)}" if given else path_of(request)
