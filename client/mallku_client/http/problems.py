"""Errors as problem details (RFC 9457): one table from our codes to HTTP's statuses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import JSONResponse

from mallku_contracts.errors import BY_CODE, MallkuError, PermissionDenied

PROBLEM: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:mallku:error:"

STATUS: Final[Mapping[str, int]] = {
    "message_too_large": 413,
    "invalid_subject": 400,
    "foreign_reply_inbox": 500,
    "busy": 503,
    "no_such_path": 404,
    "malformed_envelope": 400,
    "unsupported_version": 502,
    "stale_command": 503,
    "command_from_future": 503,
    "subject_mismatch": 400,
    "invalid_token": 401,
    "token_expired": 401,
    "revoked": 401,
    "invalid_signature": 401,
    "principal_mismatch": 401,
    "replayed": 401,
    "malformed_body": 400,
    "unverified_reply": 502,
    "invalid_proof": 401,
    "permission_denied": 403,
    "reserved_name": 403,
    "rate_limited": 429,
    "security_violation": 403,
    "invalid_arguments": 400,
    "not_supported": 422,
    "idempotency_conflict": 409,
    "result_too_large": 422,
    "document_not_found": 404,
    "revision_mismatch": 412,
    "unique_violation": 409,
    "invalid_key": 400,
    "invalid_document": 422,
    "invalid_edge": 422,
    "collection_not_found": 404,
    "collection_exists": 409,
    "index_not_found": 404,
    "invalid_index": 422,
    "database_not_found": 404,
    "graph_not_found": 404,
    "graph_exists": 409,
    "invalid_query": 400,
    "query_failed": 422,
    "resource_limit": 422,
    "unavailable": 503,
    "deadline_exceeded": 504,
    "outcome_unknown": 504,
    "store_failure": 500,
    "cursor_lost": 410,
    "audit_unavailable": 503,
    "outcome_pending": 503,
    "job_unconfirmed": 503,
    "job_pending": 504,
    "job_given_up": 410,
    "job_not_found": 404,
    "job_share_used": 429,
    "gateway_unreachable": 503,
    "configuration": 500,
    "client_closed": 503,
    "internal": 500,
}
"""HTTP's status for every code of the tree; one that is not here yet has its `http_code`."""

_REASONS: Final = {"invalid_proof": "invalid_dpop_proof", "replayed": "invalid_dpop_proof"}
UNAUTHORIZED: Final = 401


def status_of(error: MallkuError) -> int:
    """HTTP's status for an error."""
    return STATUS.get(error.code, error.http_code)


def problem(error: MallkuError, status: int = 0) -> JSONResponse:
    """The answer that tells of an error, with `Retry-After` where it says when to come back.

    Args:
        status: Where the error alone does not say it.
    """
    status = status or status_of(error)
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    if status == UNAUTHORIZED:
        reason = _REASONS.get(error.code, "invalid_token")
        headers["WWW-Authenticate"] = f'Bearer, DPoP algs="EdDSA", error="{reason}"'
    body = body_of(error, status)
    return JSONResponse(body, status, headers, media_type=PROBLEM)


def body_of(error: MallkuError, status: int) -> dict[str, Any]:
    """The members of a problem: RFC 9457's, and every one that errors have on the wire."""
    wire = error.to_wire()
    title = (type(error).__doc__ or error.code).partition("\n")[0].partition(":")[0].rstrip(".;")
    return {
        "type": TYPE_PREFIX + error.code,
        "title": title,
        "status": status,
        "detail": wire.pop("message"),
        **_sayable(wire),
    }


def _sayable(wire: dict[str, Any]) -> dict[str, Any]:
    """Without details that JSON cannot say; a worker sends none."""
    details = wire.get("details")
    if isinstance(details, dict) and any(isinstance(each, bytes) for each in details.values()):
        wire["details"] = {k: v for k, v in details.items() if not isinstance(v, bytes)}
    return wire


def codes_by_status() -> dict[int, list[str]]:
    """Which codes an answer of each status may bring, for the documentation."""
    found: dict[int, list[str]] = {}
    for code, kind in BY_CODE.items():
        found.setdefault(STATUS.get(code, kind.http_code), []).append(code)
    return dict(sorted(found.items()))


def refused_operation(name: str) -> PermissionDenied:
    """What is told of an operation that does not go through a door."""
    return PermissionDenied(f"{name} does not go through the HTTP door")
