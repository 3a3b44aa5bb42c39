"""What a running gateway may say aloud: one closed list; whoever listens decides how it looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """A worker answers commands under its random instance id."""

    slot: str
    instance: str
    pid: int

    def __str__(self) -> str:
        return f"{self.slot} is ready (pid {self.pid}, instance {self.instance})"


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker ended or hung, was removed, and is replaced after `delay_s` seconds."""

    slot: str
    pid: int
    reason: str
    delay_s: float

    def __str__(self) -> str:
        return f"{self.slot} (pid {self.pid}) {self.reason}; replaced in {self.delay_s:.1f} s"


@dataclass(frozen=True, slots=True)
class ServerLost:
    """The NATS server ended and is started again with the same data after `delay_s` seconds."""

    pid: int
    delay_s: float

    def __str__(self) -> str:
        return f"nats-server (pid {self.pid}) ended; started again in {self.delay_s:.1f} s"


@dataclass(frozen=True, slots=True)
class ServerReady:
    """The NATS server answers again."""

    pid: int

    def __str__(self) -> str:
        return f"nats-server is ready (pid {self.pid})"


@dataclass(frozen=True, slots=True)
class NotYet:
    """Something could not be done now and is tried again after `delay_s` seconds."""

    what: str
    reason: str
    delay_s: float

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}; tried again in {self.delay_s:.1f} s"


@dataclass(frozen=True, slots=True)
class StreamDrift:
    """A stream is not what it has to be; it is used as it is."""

    what: str

    def __str__(self) -> str:
        return f"stream drift: {self.what}"


Event = WorkerReady | WorkerLost | ServerLost | ServerReady | NotYet | StreamDrift
Announce = Callable[[Event], None]
