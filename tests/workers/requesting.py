"""Requests as step 5 makes them, for what comes behind it."""

from __future__ import annotations

from typing import Any

from mallku_contracts.arguments import read_arguments
from mallku_contracts.operations import OPERATIONS, Scope
from mallku_contracts.policy import Grant, Limits
from mallku_contracts.subjects import NO_COLLECTION, CommandSubject
from mallku_contracts.tokens import COMMAND_AUDIENCE, Identity
from mallku_workers.request import Request
from tests.support.simulated_caller import ISSUER, SimulatedCaller
from tests.workers.world import COMPILED

GRANT = Grant("service/documents", COMPILED.version, Limits())


def make_request(operation: str, now_ms: int = 0, /, **arguments: Any) -> Request:
    """A request of `mallku` about `memory_anchors` that everything allows."""
    known = OPERATIONS[operation]
    where = NO_COLLECTION if known.scope is Scope.DATABASE else "memory_anchors"
    return Request(
        CommandSubject("mallku", "mallku", where, operation),
        known,
        read_arguments(known.arguments, arguments),
        COMPILED,
        identity_of(SimulatedCaller.of("mallku")),
        GRANT,
        now_ms,
    )


def identity_of(caller: SimulatedCaller) -> Identity:
    """Whom the caller's token speaks for."""
    return Identity(
        issuer=ISSUER,
        audience=COMMAND_AUDIENCE,
        principal=caller.principal,
        roles=frozenset({"service"}),
        issued_at=0,
        expires_at=2**40,
        token_id="",
        key=caller.key.public,
    )
