"""The JetStream API (ADR-2, ADR-31): one question, one answer, and what a refusal is.

Requests go as JSON, because the library's `StreamConfig` does not know every field.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from time import monotonic
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from mallku_broker.cancellation import cancellable
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable

JETSTREAM_API: Final = "$JS.API"
"""Where the JetStream API is found in the account RECORDS."""

API_TIMEOUT_S: Final = 5.0
"""One request to the JetStream API, seconds."""

NOBODY_TRIES: Final = 20
"""How often a question that nobody hears is asked: a server that reloads is deaf for a moment."""

NOBODY_AGAIN_S: Final = 0.05
"""Between two such tries, seconds."""

NO_SUCH_STREAM: Final = 10059
"""The server's number for a stream that is not there."""


NO_PEERS: Final = 10005
"""The server's number for a cluster that has too few servers for a stream."""

FORMING_S: Final = 10.0
"""How long a cluster may take to find all its servers, seconds."""

FORMING_AGAIN_S: Final = 0.25
"""Between two looks at a cluster that forms, seconds."""


class ApiError(ConfigurationError):
    """The JetStream API refused a request; `err_code` is the server's own number for why."""

    def __init__(self, call: str, err_code: int, description: str) -> None:
        super().__init__(f"JetStream refused {call}: {description} ({err_code})")
        self.err_code = err_code


async def ask(
    connection: Client, call: str, body: Mapping[str, Any], *, api: str = JETSTREAM_API
) -> dict[str, Any]:
    """Ask the JetStream API (ADR-2, ADR-31): `call` is what follows `api` and a dot.

    Raises:
        GatewayUnreachable: it does not answer within `API_TIMEOUT_S`, or nobody hears the question
            `NOBODY_TRIES` times.
        ApiError: it refused.
    """
    try:
        message = await _heard(connection, f"{api}.{call}", json.dumps(body).encode())
    except nats.errors.Error as error:
        raise GatewayUnreachable(
            f"JetStream did not answer {call} within {API_TIMEOUT_S} s "
            f"({type(error).__name__}); may this user call it?"
        ) from error
    answer: dict[str, Any] = json.loads(message.data)
    if "error" in answer:
        refusal = answer["error"]
        raise ApiError(call, int(refusal.get("err_code", 0)), str(refusal.get("description", "")))
    return answer


async def ask_formed(
    connection: Client, call: str, body: Mapping[str, Any], *, api: str = JETSTREAM_API
) -> dict[str, Any]:
    """As `ask`, of a cluster that may only be forming: servers that it lacks are waited for.

    Raises:
        GatewayUnreachable, ApiError: as `ask`; for `FORMING_S` there were too few servers.
    """
    end = monotonic() + FORMING_S
    while True:
        try:
            return await ask(connection, call, body, api=api)
        except ApiError as error:
            if error.err_code != NO_PEERS or monotonic() > end:
                raise
        await asyncio.sleep(FORMING_AGAIN_S)


async def _heard(connection: Client, subject: str, body: bytes) -> Msg:
    for _ in range(NOBODY_TRIES - 1):
        try:
            return await cancellable(connection.request(subject, body, timeout=API_TIMEOUT_S))
        except nats.errors.NoRespondersError:
            await asyncio.sleep(NOBODY_AGAIN_S)
    return await cancellable(connection.request(subject, body, timeout=API_TIMEOUT_S))
