"""The bar to be measured against: nats-py's own request, echoed, with a sealed command's bytes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import nats

from mallku_deploy.bench import Call

SUBJECT: Final = "echo"
_TIMEOUT_S: Final = 10.0


@asynccontextmanager
async def echo(setting: dict[str, Any]) -> AsyncGenerator[Call]:
    """Requests with `setting["payload"]` (hexadecimal) to the echo at `setting["url"]`."""
    payload = bytes.fromhex(setting["payload"])
    subject = f"{SUBJECT}.{setting['loop']}"
    connection = await nats.connect(setting["url"])
    try:
        yield lambda _: connection.request(subject, payload, timeout=_TIMEOUT_S)
    finally:
        await connection.close()
