"""How full a stream is, and how many messages of it lie below a subject."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from mallku_broker.connection import GatewayConnection
from mallku_broker.headers import status
from mallku_broker.jetstream import API_TIMEOUT_S, ask
from mallku_broker.requests import RequestMultiplexer
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable, MallkuError

_NOT_FOUND: Final = 404


class Filling(NamedTuple):
    """What a stream holds and what it may hold at most, bytes; `most` is 0 without a limit."""

    held: int
    most: int

    @property
    def half_full(self) -> bool:
        """Whether half of it is used."""
        return self.most > 0 and 2 * self.held >= self.most


async def filling(connection: GatewayConnection, stream: str) -> Filling:
    """How full a stream is.

    Raises:
        GatewayUnreachable: no answer in time.
        ConfigurationError: there is no such stream, or no permission to look at it.
    """
    info: dict[str, Any] = await ask(connection, f"STREAM.INFO.{stream}", {})
    most = int(info["config"].get("max_bytes", 0))
    return Filling(int(info["state"]["bytes"]), max(most, 0))


async def count_below(asking: RequestMultiplexer, stream: str, subjects: str) -> int:
    """How many messages lie in a stream below a subject with wildcards (ADR-31, "Direct Get").

    The oldest of them comes along: the answer to a batch says how many there are behind it.

    Raises:
        GatewayUnreachable: no answer in time; there is no such stream, or no permission to read it.
        ConfigurationError: the server refused.
    """
    wanted = json.dumps({"seq": 1, "batch": 1, "next_by_subj": subjects}).encode()
    call = f"$JS.API.DIRECT.GET.{stream}"
    try:
        answer = await asking.request(call, wanted, timeout=API_TIMEOUT_S)
    except (TimeoutError, MallkuError) as error:
        raise GatewayUnreachable(
            f"{stream} did not answer ({type(error).__name__}); may this user read it?"
        ) from error
    if status(answer.header) == _NOT_FOUND:
        return 0
    headers = answer.headers
    if "Nats-Num-Pending" not in headers or "Nats-Sequence" not in headers:
        said = headers.get("Description", "an answer that is no message")
        raise ConfigurationError(f"{stream} refused to count {subjects}: {said}")
    return int(headers["Nats-Num-Pending"]) + 1
