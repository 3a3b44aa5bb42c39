"""What is read of a stream, how much of it at a time, and what the server says about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nats.aio.client import Client

from mallku_broker.jetstream import JETSTREAM_API, ask
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.limits import MIB

MAX_FILTERS: Final = 256
"""Subjects that one reader asks for."""


@dataclass(frozen=True, slots=True)
class Range:
    """What is read of a stream.

    Attributes:
        subjects: What the server selects, `*` and `>` included; everything when empty. They must
            not overlap.
        first: The sequence to begin at.
        since_ms: Begin with what was stored at or after this Unix time, milliseconds, instead.
        follow: Go on for ever; else the end is what was last when reading began.
        api: Where the JetStream API is found: `$JS.API`, or what an account imports it as.
    """

    stream: str
    subjects: tuple[str, ...] = ()
    first: int = 1
    since_ms: int | None = None
    follow: bool = False
    api: str = JETSTREAM_API

    def __post_init__(self) -> None:
        if len(self.subjects) > MAX_FILTERS:
            raise ConfigurationError(f"at most {MAX_FILTERS} subjects are read at a time")


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How much is read ahead, and how long anything is waited for.

    Attributes:
        pull_messages: Messages in one request to the server.
        pull_bytes: Bytes in one request; more than the largest message of the stream.
        ahead: As many requests are open, or have brought what waits to be taken.
        pull_s: How long the server keeps a request, seconds.
        heartbeat_s: How often it says that there is nothing, seconds.
        silence_s: Without a sign of it for so long, reading begins again; seconds.
        again_s: Between two tries to begin, seconds.
        forgotten_s: The server drops a reader that asks no more after so long, seconds.
        give_up_s: Without an answer for so long reading ends with an error; None tries for ever.
    """

    pull_messages: int = 1_000
    pull_bytes: int = 8 * MIB
    ahead: int = 3
    pull_s: float = 10.0
    heartbeat_s: float = 1.0
    silence_s: float = 4.0
    again_s: float = 0.5
    forgotten_s: float = 15.0
    give_up_s: float | None = 60.0


DEFAULT_LIMITS: Final = ReadLimits()


@dataclass(frozen=True, slots=True)
class StreamState:
    """What the server says about a stream; times are its own words (RFC 3339).

    `sealed`: it takes no message any more.
    """

    name: str
    created: str
    messages: int
    bytes: int
    first: int
    last: int
    consumers: int
    sealed: bool = False


async def stream_state(connection: Client, stream: str, *, api: str = JETSTREAM_API) -> StreamState:
    """Ask for a stream's state; errors as `jetstream.ask`."""
    found = await ask(connection, f"STREAM.INFO.{stream}", {}, api=api)
    state = found["state"]
    return StreamState(
        stream,
        found["created"],
        state["messages"],
        state["bytes"],
        state["first_seq"],
        state["last_seq"],
        state.get("consumer_count", 0),
        bool(found["config"].get("sealed", False)),
    )
