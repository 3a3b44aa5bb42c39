"""The application: paths, errors as problem details, OpenAPI. `serving` runs it."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from mallku_client.http.asking import read_trace
from mallku_client.http.door import Door
from mallku_client.http.guard import unexpected
from mallku_client.http.problems import problem
from mallku_client.http.routes import collections, documents, queries
from mallku_client.http.shapes import Problem, problems
from mallku_client.http_transport import COMMAND_TYPE, DELIVERED, REPLY_TYPE
from mallku_client.transport import NoAnswer, NotDelivered
from mallku_contracts.arguments import MAX_NAMED_FIELDS
from mallku_contracts.dpop import API
from mallku_contracts.errors import (
    DeadlineExceeded,
    GatewayUnreachable,
    InvalidArguments,
    MalformedBody,
    MallkuError,
    NoSuchPath,
)
from mallku_contracts.limits import MAX_NAME_CHARS

_BAD_REQUEST: Final = 400
_TITLE: Final = "Mallku gateway"
_ABOUT: Final = """Signed, audited access to Mallku's documents.

Every request becomes a signed command over NATS and goes through the same policy and audit trail as
any other. Callers prove who they are with DPoP (RFC 9449): `Authorization: DPoP TOKEN` and a proof
in the header `DPoP`; its claim `cmd` covers the whole command. Callers that cannot sign show a
secret: `Authorization: Bearer SECRET`. Errors are problem details (RFC 9457)."""

health = APIRouter()
relay = APIRouter(prefix=API, tags=["relay"])


def build_app(door: Door) -> FastAPI:
    """The door as an ASGI application, without the guard that stands in front of it."""
    app = FastAPI(
        title=_TITLE,
        version="1",
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # where to would be said by the header Host
    )
    app.state.door = door
    errors = problems()
    for router in (documents.router, collections.router, queries.router):
        app.include_router(router, prefix=API, responses=errors)
    app.include_router(relay)
    app.include_router(health)
    app.add_exception_handler(MallkuError, _coded)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _plain)
    app.add_exception_handler(Exception, _bland)
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _finished(make())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way
    return app


@health.get("/health", tags=["health"])
async def is_healthy(request: Request) -> Response:
    """Whether requests can be served: 200, or 503 while the broker is away. Nobody need say who."""
    door: Door = request.app.state.door
    state = "ok" if door.is_up else "away"
    return JSONResponse({"status": state}, 200 if door.is_up else 503)


@relay.post("/relay/{subject}", include_in_schema=False)
async def pass_on(request: Request, subject: str) -> Response:
    """A command that its caller signed, as it is; the reply's bytes, as they are."""
    door: Door = request.app.state.door
    if request.headers.get("content-type") != COMMAND_TYPE:
        raise MalformedBody(f"the content of a relayed command is {COMMAND_TYPE}")
    try:
        traceparent = read_trace(request)
        reply = await door.relay.pass_on(subject, await request.body(), traceparent)
    except NotDelivered as error:
        answer = problem(GatewayUnreachable(str(error)))
        answer.headers[DELIVERED] = "no"
        return answer
    except NoAnswer as error:
        return problem(DeadlineExceeded(str(error)))
    return Response(reply, media_type=REPLY_TYPE)


async def _coded(_request: Request, error: Exception) -> Response:
    if not isinstance(error, MallkuError):
        raise TypeError(f"not an error of ours: {type(error).__name__}")
    return problem(error)


async def _bland(_request: Request, error: Exception) -> Response:
    return unexpected(error)


async def _invalid(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise TypeError(f"not an error of FastAPI's: {type(error).__name__}")
    fields = {
        ".".join(str(step)[:MAX_NAME_CHARS] for step in one["loc"]): str(one["msg"])
        for one in error.errors()[:MAX_NAMED_FIELDS]
    }
    text = "; ".join(f"{path}: {message}" for path, message in fields.items())
    return problem(InvalidArguments(text, details={"fields": fields}))


async def _plain(_request: Request, error: Exception) -> Response:
    """What the framework itself refuses: no such path, or not this method."""
    if not isinstance(error, HTTPException):
        raise TypeError(f"not an error of the framework's: {type(error).__name__}")
    if error.status_code == _BAD_REQUEST:
        return problem(MalformedBody(f"content: {error.detail}"))
    answer = problem(NoSuchPath(str(error.detail)), error.status_code)
    answer.headers.update(error.headers or {})
    return answer


def _finished(schema: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI with who may ask, and with problems in the place of FastAPI's own errors."""
    parts = schema.setdefault("components", {})
    parts["securitySchemes"] = {
        "dpop": {
            "type": "http",
            "scheme": "dpop",
            "description": "A token, and in the header DPoP a proof (RFC 9449)",
        },
        "service": {"type": "http", "scheme": "bearer", "description": "A service's secret"},
    }
    schemas = parts.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = Problem.model_json_schema()
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            operation["responses"].pop("422", None) if path == "/health" else None
            if path.startswith(API):
                operation["security"] = [{"dpop": []}, {"service": []}]
    return schema
