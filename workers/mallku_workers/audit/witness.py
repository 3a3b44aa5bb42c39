"""A witness outside the broker: it keeps checkpoints where whoever cuts the trail cannot reach.

A witness never stands in the way: what it has not taken waits, within a bound, and is tried again.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import stat
from collections import deque
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import structlog

from mallku_broker.connection import ConnectionSettings, GatewayConnection, connect
from mallku_broker.permissions import WORKER_INBOX_PREFIX
from mallku_broker.requests import RequestMultiplexer
from mallku_contracts.errors import ConfigurationError, MallkuError
from mallku_contracts.trail.checkpoint import Checkpoint

MAX_WAITING: Final = 1_024
"""Checkpoints that the witness has not taken; beyond it the oldest is dropped.

Those that follow hold its hash, so that a later one vouches for it.
"""

ANSWER_S: Final = 5.0
"""How long a witness behind a broker may take to answer, seconds."""

MAX_SUBJECT_CHARS: Final = 255
"""The subject of a witness, characters."""

VERSION: Final = 1
_SUBJECT: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_PRIVATE: Final = 0o600
_log = structlog.get_logger("mallku.witness")


class WitnessSilent(Exception):
    """The witness did not take a checkpoint; the message says why. Never on the wire."""


class Witness(Protocol):
    """Keeps checkpoints somewhere else."""

    async def keep(self, checkpoint: Checkpoint) -> None:
        """Keep one for good; `WitnessSilent` when it could not be."""
        ...

    async def close(self) -> None:
        """Let go of what is open."""
        ...


class Witnessing:
    """Brings this worker's checkpoints to its witness, one after the other."""

    def __init__(self, witness: Witness, *, retry_s: float) -> None:
        self._witness = witness
        self._retry_s = retry_s
        self._waiting: deque[Checkpoint] = deque()
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._dropped = 0
        self._silent = False

    @property
    def waiting(self) -> int:
        """Checkpoints that the witness has not taken."""
        return len(self._waiting)

    def offer(self, checkpoint: Checkpoint) -> None:
        """Hand over a checkpoint; returns at once."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(checkpoint)
        self._idle.clear()
        self._news.set()

    async def keep(self) -> None:
        """Bring what waits, again and again until cancelled."""
        while True:
            while self._waiting:
                await self._bring(self._waiting[0])
            self._idle.set()
            self._news.clear()
            await self._news.wait()

    async def finish(self, timeout_s: float) -> int:
        """Wait for what waits, and close; how many checkpoints the witness did not take."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            _log.error("not_witnessed", checkpoints=len(self._waiting))
        await self._witness.close()
        return len(self._waiting)

    async def _bring(self, checkpoint: Checkpoint) -> None:
        try:
            await self._witness.keep(checkpoint)
        except WitnessSilent as error:
            self._hear(str(error))
            await asyncio.sleep(self._retry_s)
            return
        self._hear("")
        if self._waiting and self._waiting[0] is checkpoint:  # it may have been dropped meanwhile
            self._waiting.popleft()

    def _hear(self, trouble: str) -> None:
        """Say when the witness falls silent and when it answers again, not for each try."""
        if trouble and not self._silent:
            _log.warning("witness_silent", reason=trouble)
        elif self._silent and not trouble:
            _log.info("witness_answers", waiting=len(self._waiting), dropped=self._dropped)
        self._silent = bool(trouble)


class FileWitness:
    """Appends checkpoints to a file as JSON lines; each is on the disk before it counts as kept."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def keep(self, checkpoint: Checkpoint) -> None:
        """Append one line, and wait for the disk."""
        line = json.dumps(describe(checkpoint), separators=(",", ":")).encode() + b"\n"
        try:
            await asyncio.to_thread(_append, self._path, line)
        except OSError as error:
            raise WitnessSilent(f"{self._path}: {error.strerror or error}") from error

    async def close(self) -> None:
        """Nothing is open between two lines."""


class BrokerWitness:
    """Publishes checkpoints, as they are, on a subject of another broker.

    Somebody has to answer: a stream that takes the subject, or a service that keeps them.
    """

    def __init__(self, settings: ConnectionSettings, subject: str, instance: str) -> None:
        self._settings = settings
        self._subject = subject
        self._instance = instance
        self._connection: GatewayConnection | None = None
        self._asking: RequestMultiplexer | None = None

    async def keep(self, checkpoint: Checkpoint) -> None:
        """Publish one, and wait for an answer that is not an error."""
        headers = {"Nats-Msg-Id": checkpoint.message_id}
        try:
            asking = self._asking or await self._connect()
            answer = await asking.request(
                self._subject, checkpoint.data, timeout=ANSWER_S, headers=headers
            )
        except (MallkuError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise WitnessSilent(f"{self._settings.url}: {reason}") from error
        if b'"error"' in answer.data or "Nats-Service-Error" in answer.headers:
            raise WitnessSilent(f"{self._settings.url}: it refused: {answer.data[:200]!r}")

    async def close(self) -> None:
        """Close the connection."""
        if self._asking is not None:
            await self._asking.close()
        if self._connection is not None:
            await self._connection.close()
        self._asking = self._connection = None

    async def _connect(self) -> RequestMultiplexer:
        if self._connection is None:
            self._connection = await connect(
                self._settings,
                name=f"mallku-witness-{self._instance}",
                inbox_prefix=f"{WORKER_INBOX_PREFIX}.{self._instance}",
            )
        asking = RequestMultiplexer(self._connection, self._connection.inbox_prefix)
        await asking.start()
        self._asking = asking
        return asking


def describe(checkpoint: Checkpoint) -> dict[str, object]:
    """A checkpoint as one line of a witness's file says it; the message in base64."""
    header = checkpoint.header
    return {
        "v": VERSION,
        "worker": header.worker,
        "number": header.number,
        "time": header.time,
        "hash": checkpoint.hash.hex(),
        "checkpoint": base64.b64encode(checkpoint.data).decode(),
    }


def witness_at(place: str, credentials: Path | None, instance: str) -> Witness:
    """The witness that a setting names: `file:/PATH` or `nats://HOST:PORT/SUBJECT`.

    `tls://HOST:PORT/SUBJECT` wants TLS, with whom the system believes.

    Raises:
        ConfigurationError: the setting names neither.
    """
    if place.startswith("file:"):
        path = Path(unquote(urlsplit(place).path))
        if not path.is_absolute():
            raise ConfigurationError(f"checkpoint witness {place!r}: expected file:/PATH")
        return FileWitness(path)
    server, slash, subject = place.removeprefix("nats://").removeprefix("tls://").partition("/")
    scheme = place.partition("://")[0]
    if scheme not in {"nats", "tls"} or not slash or len(subject) > MAX_SUBJECT_CHARS:
        shown = place.rpartition("@")[2][:120]
        raise ConfigurationError(
            f"checkpoint witness {shown!r}: expected file:/PATH or nats://HOST:PORT/SUBJECT"
        )
    if _SUBJECT.fullmatch(subject) is None:
        raise ConfigurationError(f"checkpoint witness: {subject!r} is not a plain subject")
    settings = ConnectionSettings(url=f"{scheme}://{server}", credentials=credentials)
    return BrokerWitness(settings, subject, instance)


def _append(path: Path, line: bytes) -> None:
    """One write at the end of a plain file, then `fsync`; a line cut off before is ended first."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags, _PRIVATE)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "not a plain file")
        if found.st_size and os.pread(descriptor, 1, found.st_size - 1) != b"\n":
            line = b"\n" + line
        if os.write(descriptor, line) != len(line):
            raise OSError(0, "the disk took a part of a line")
        os.fsync(descriptor)
        if not found.st_size:
            _sync_folder(path.parent)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """A new file is there after a power loss only when its folder is on the disk as well."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
