"""What a running gateway may say aloud: one closed list; whoever listens decides how it looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """A worker answers commands under its random instance id.

    Attributes:
        http: `HOST:PORT` of its metrics and health; empty for none.
    """

    slot: str
    instance: str
    pid: int
    http: str = ""

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
class DoorReady:
    """The HTTP door takes requests at this URL."""

    url: str
    pid: int

    def __str__(self) -> str:
        return f"the HTTP door is ready at {self.url} (pid {self.pid})"


@dataclass(frozen=True, slots=True)
class DoorLost:
    """The HTTP door ended and is started again after `delay_s` seconds."""

    reason: str
    delay_s: float

    def __str__(self) -> str:
        return f"the HTTP door {self.reason}; started again in {self.delay_s:.1f} s"


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


@dataclass(frozen=True, slots=True)
class Governed:
    """A higher version of the policy or the revocations is in force, in workers and broker."""

    kind: str
    version: int

    def __str__(self) -> str:
        return f"{self.kind}: version {self.version} is in force"


@dataclass(frozen=True, slots=True)
class OlderFile:
    """The policy file has a lower version than the policy that was pushed since, and is left so."""

    version: int
    in_force: int

    def __str__(self) -> str:
        return (
            f"policy.yaml has version {self.version}; version {self.in_force} is in force, its text"
            " lies in adopted.yaml"
        )


@dataclass(frozen=True, slots=True)
class Untaken:
    """Something that may not govern was put into a bucket."""

    kind: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind}: what was put into the bucket does not govern: {self.reason}"


@dataclass(frozen=True, slots=True)
class Unwritten:
    """A file could not be written; it is written again when there is news for it."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path} was not written: {self.reason}"


@dataclass(frozen=True, slots=True)
class Restored:
    """The document in force was put back into its bucket."""

    kind: str
    version: int

    def __str__(self) -> str:
        return f"{self.kind}: version {self.version} was put back into the bucket"


@dataclass(frozen=True, slots=True)
class CertificatesRenewed:
    """The server shows other certificates to those who connect from now on."""

    def __str__(self) -> str:
        return "nats-server took over the TLS files as they are now"


Event = (
    WorkerReady
    | WorkerLost
    | ServerLost
    | ServerReady
    | DoorReady
    | DoorLost
    | NotYet
    | StreamDrift
    | Governed
    | OlderFile
    | Untaken
    | Unwritten
    | Restored
    | CertificatesRenewed
)
Announce = Callable[[Event], None]
