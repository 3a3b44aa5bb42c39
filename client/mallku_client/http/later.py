"""Changes that are kept as durable jobs instead of being waited for: `Prefer: respond-async`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.responses import JSONResponse, Response

from mallku_client.http.asking import Asking
from mallku_client.jobs import JobOptions
from mallku_contracts.dpop import API


async def answered_later(
    asked: Asking, collection: str | None, operation: str, arguments: Mapping[str, Any]
) -> Response:
    """202 once the job is kept; `Location` is where its outcome will be."""
    key, submitted = await asked.commands.submit(
        operation,
        collection,
        arguments,
        JobOptions(),
        timeout=asked.wait_s,
        idempotency_key=asked.key,
    )
    stored = submitted.stored
    asked.commands.jobs.forget(submitted)
    receipt = {"stream": stored.stream, "sequence": stored.sequence, "time": stored.time}
    headers = {
        "Location": f"{API}/jobs/{quote(key, safe='')}",
        "Preference-Applied": "respond-async",
        "Mallku-Id": submitted.id,
    }
    return JSONResponse({"job": key, "receipt": receipt}, 202, headers)
