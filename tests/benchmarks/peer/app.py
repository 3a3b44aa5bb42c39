"""The peer's two routes: insert a document, get a document, each checked and on the record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Body, Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

from mallku_contracts.errors import AuthorizationError, MallkuError
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.policy import CompiledPolicy
from mallku_contracts.subjects import CommandSubject
from tests.benchmarks.peer.identity import Caller, Tokens, Unauthenticated
from tests.benchmarks.peer.store import Access, KeyTaken, Store

DATABASE: Final = "mallku"


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the routes need."""

    tokens: Tokens
    policy: CompiledPolicy
    store: Store

    def authorize(self, caller: Caller, operation: str, collection: str) -> Access:
        """The same decision as the gateway's, by the same function over the same document."""
        try:
            subject = CommandSubject.build(caller.name, DATABASE, collection, operation)
            grant = self.policy.decide(
                subject, OPERATIONS[operation], roles=caller.roles, issuer=caller.issuer
            )
        except AuthorizationError as error:
            version = self.policy.version
            self.store.refuse(Access(caller.name, operation, collection, error.code, version))
            raise
        return Access(caller.name, operation, collection, grant.rule, grant.policy_version)


async def _gateway(request: Request) -> Gateway:  # a plain def would cost a hop to a thread
    gateway: Gateway = request.app.state.gateway
    return gateway


TheGateway = Annotated[Gateway, Depends(_gateway)]


async def _caller(request: Request, gateway: TheGateway) -> Caller:
    try:
        return gateway.tokens.caller(request.headers.get("authorization"))
    except Unauthenticated as error:
        raise HTTPException(401, str(error), {"WWW-Authenticate": "Bearer"}) from None


TheCaller = Annotated[Caller, Depends(_caller)]
Document = Annotated[dict[str, Any], Body()]


async def insert(
    collection: str, document: Document, caller: TheCaller, gateway: TheGateway
) -> JSONResponse:
    """Store a new document; the answer is its `_id`, `_key` and `_rev`."""
    access = gateway.authorize(caller, "insert", collection)
    try:
        return JSONResponse(gateway.store.insert(document, access), 201)
    except KeyTaken as error:
        raise HTTPException(409, f"the key {error} is taken") from None


async def get(collection: str, key: str, caller: TheCaller, gateway: TheGateway) -> JSONResponse:
    """The document with this key."""
    document = gateway.store.get(key, gateway.authorize(caller, "get", collection))
    if document is None:
        raise HTTPException(404, "there is no such document")
    return JSONResponse(document)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MallkuError)
    status = 403 if isinstance(error, AuthorizationError) else 400
    return JSONResponse({"code": error.code, "message": error.message}, status)


def create_app(gateway: Gateway) -> FastAPI:
    """The application, ready for uvicorn."""
    app = FastAPI(openapi_url=None)
    app.state.gateway = gateway
    app.add_api_route("/documents/{collection}", insert, methods=["POST"])
    app.add_api_route("/documents/{collection}/{key}", get, methods=["GET"])
    app.add_exception_handler(MallkuError, _refused)
    return app
