"""What an acknowledgement of a stream is worth, and how full the stream is: read, never assumed.

A stream says itself where it is kept and on how many servers. Whether those servers wait for the
disk is in no answer about streams; each says so in its own configuration (`JSZ`, a call of the
system account that RECORDS imports). A server that does not say is taken for one that does not.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mallku_broker.accounts import (
    SERVER_REPORT,
)
from mallku_broker.connection import GatewayConnection
from mallku_broker.jetstream import ask
from mallku_broker.requests import RequestMultiplexer
from mallku_contracts.durability import Durability
from mallku_contracts.errors import MallkuError

REPORT_TIMEOUT_S: Final = 2.0
"""One server's answer about its configuration, seconds."""

ALARM_SHARE: Final = 0.8
"""From this part of its bytes on a stream that refuses when it is full is an alarm."""

_COPIES: Final = 2
_MS_PER_S: Final = 1_000


@dataclass(frozen=True, slots=True)
class StreamDurability:
    """What a stream's acknowledgement survives, and why, in words for people."""

    level: Durability
    reason: str


@dataclass(frozen=True, slots=True)
class Fill:
    """How full a stream is, bytes; `limit` is 0 where it has none."""

    used: int
    limit: int

    @property
    def share(self) -> float:
        """The part that is used, 0 to 1; 0 without a limit."""
        return self.used / self.limit if self.limit else 0.0

    @property
    def alarming(self) -> bool:
        """Whether somebody should make room, before the stream refuses."""
        return self.share >= ALARM_SHARE


@dataclass(frozen=True, slots=True)
class StreamState:
    """What a stream and its servers said, at one moment.

    Attributes:
        silent: The servers that did not say whether they sync.
        apart_ms: How far our wall clock is ahead of the server's, milliseconds, give or take half
            of what the question took; None where it did not say.
    """

    durability: StreamDurability
    fill: Fill
    silent: tuple[str, ...] = ()
    apart_ms: float | None = None


async def read_stream(
    connection: GatewayConnection, requests: RequestMultiplexer, stream: str
) -> StreamState:
    """Ask a stream, and each server that keeps it; both connections are in RECORDS.

    Raises:
        GatewayUnreachable: the JetStream API does not answer.
        ApiError: it refused; there is no such stream.
    """
    asked_s = time.time()
    info = await ask(connection, f"STREAM.INFO.{stream}", {})
    apart_ms = apart_of(info, (asked_s + time.time()) / 2)
    synced = {name: await _is_synced(requests, name) for name in servers_of(info)}
    silent = tuple(name for name, says in synced.items() if says is None)
    return StreamState(judge(info["config"], synced), fill_of(info), silent, apart_ms)


def judge(configuration: Mapping[str, Any], synced: Mapping[str, bool | None]) -> StreamDurability:
    """The level that a stream reaches.

    Copies alone are no `quorum`: a server that loses power forgets what it has not synced, and
    can come back into a majority that never had the record.

    Args:
        configuration: The stream's, as the server has it.
        synced: The servers that keep it: whether each syncs every write; None where it did not say.
    """
    if configuration.get("storage") != "file":
        return StreamDurability(Durability.MEMORY, "the stream is kept in memory")
    if configuration.get("persist_mode") == "async":
        return StreamDurability(Durability.MEMORY, "the stream is written after it acknowledged")
    copies = int(configuration.get("num_replicas", 1))
    lazy = sorted(name for name, says in synced.items() if not says)
    if lazy or len(synced) < copies:
        return StreamDurability(Durability.FLUSH, _why_not_synced(lazy, synced, copies))
    if copies < _COPIES:
        return StreamDurability(Durability.FSYNC, "its server syncs every write")
    return StreamDurability(Durability.QUORUM, f"{copies} servers sync every write")


def servers_of(info: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the servers that keep a stream, out of its STREAM.INFO."""
    cluster = info.get("cluster") or {}
    leader = (str(cluster["leader"]),) if cluster.get("leader") else ()
    return (*leader, *(str(peer["name"]) for peer in cluster.get("replicas") or ()))


def fill_of(info: Mapping[str, Any]) -> Fill:
    """How full a stream is, out of its STREAM.INFO."""
    return Fill(int(info["state"]["bytes"]), max(int(info["config"].get("max_bytes", 0)), 0))


def apart_of(info: Mapping[str, Any], now_s: float) -> float | None:
    """How far `now_s`, Unix seconds, is ahead of the time that a STREAM.INFO tells, milliseconds.

    None when it tells none.
    """
    told = str(info.get("ts", ""))
    # Of nine digits behind the point, Python 3.11 reads three or six.
    told = re.sub(r"(\.\d{6})\d+", r"\1", told)
    try:
        then = datetime.fromisoformat(told)
    except ValueError:
        return None
    return None if then.tzinfo is None else (now_s - then.timestamp()) * _MS_PER_S


def _why_not_synced(lazy: Iterable[str], synced: Mapping[str, bool | None], copies: int) -> str:
    """Which servers do not sync every write, did not say, or are missing."""
    words = [
        f"{name} does not say whether it syncs"
        if synced[name] is None
        else f"{name} does not sync every write"
        for name in lazy
    ]
    if len(synced) < copies:
        words.append(f"{len(synced)} of {copies} servers are known")
    return "; ".join(words)


async def _is_synced(requests: RequestMultiplexer, server: str) -> bool | None:
    """Whether a server syncs every write, by its own configuration; None when it does not say."""
    body = json.dumps({"server_name": server, "exact_match": True}).encode()
    try:
        answer = await requests.request(SERVER_REPORT, body, timeout=REPORT_TIMEOUT_S)
    except (MallkuError, TimeoutError):  # nobody listens, not permitted, or it is not there now
        return None
    return read_report(answer.data, server)


def read_report(body: bytes, server: str) -> bool | None:
    """What a server's answer to `JSZ` says; None when it is no such answer, or another server's."""
    try:
        report = json.loads(body)
        if report["server"]["name"] != server:
            return None
        return bool(report["data"]["config"].get("sync_always", False))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
