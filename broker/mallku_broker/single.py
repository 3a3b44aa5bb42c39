"""One message of a stream, asked for by its place or its subject (ADR-31, "Direct Get").

Any server that holds the stream may answer, so that the newest message may be one behind.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from mallku_broker.cancellation import cancellable
from mallku_broker.jetstream import API_TIMEOUT_S
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from mallku_contracts.trail.stored import TrailEntry

_NOT_FOUND: Final = "404"
_MS_PER_S: Final = 1_000


async def message_at(connection: Client, stream: str, sequence: int) -> TrailEntry | None:
    """The message at a sequence; None when there is none.

    Raises:
        GatewayUnreachable: no answer in time; there is no such stream, or no permission to read it.
        ConfigurationError: the server refused.
    """
    return await _get(connection, stream, {"seq": sequence})


async def newest_message(connection: Client, stream: str, subject: str) -> TrailEntry | None:
    """The newest message of a subject; None when there is none. Errors as of `message_at`."""
    return await _get(connection, stream, {"last_by_subj": subject})


async def _get(connection: Client, stream: str, wanted: dict[str, Any]) -> TrailEntry | None:
    call = f"$JS.API.DIRECT.GET.{stream}"
    try:
        message = await cancellable(
            connection.request(call, json.dumps(wanted).encode(), timeout=API_TIMEOUT_S)
        )
    except nats.errors.Error as error:
        raise GatewayUnreachable(
            f"{stream} did not answer within {API_TIMEOUT_S} s ({type(error).__name__});"
            " may this user read it?"
        ) from error
    return _read(message, stream)


def _read(message: Msg, stream: str) -> TrailEntry | None:
    headers = message.headers or {}
    status = headers.get("Status")
    if status == _NOT_FOUND:
        return None
    if status is not None or "Nats-Sequence" not in headers:
        said = headers.get("Description", "an answer that is no message")
        raise ConfigurationError(f"{stream} refused to show a message: {said}")
    stored = datetime.fromisoformat(_microseconds(headers["Nats-Time-Stamp"]))
    return TrailEntry(
        int(headers["Nats-Sequence"]),
        headers["Nats-Subject"],
        int(stored.timestamp() * _MS_PER_S),
        message.data,
    )


def _microseconds(time: str) -> str:
    """RFC 3339 with as many digits of a second as Python reads."""
    head, dot, tail = time.rstrip("Z").partition(".")
    return f"{head}{dot}{tail[:6]}+00:00"
