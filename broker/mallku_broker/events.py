"""What a connection tells those who watch it, and the typed ends of a request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mallku_contracts.errors import GatewayUnreachable, PermissionDenied


class EventKind(StrEnum):
    """What happened to a connection."""

    DISCONNECTED = "disconnected"
    RECONNECTED = "reconnected"
    CLOSED = "closed"
    LAME_DUCK = "lame_duck"
    REFUSED = "refused"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """Something happened to a connection.

    Attributes:
        connection: The connection's name.
        detail: What the server or the operating system said; never a secret.
        subject: With `REFUSED`, the subject in lower case (the library lowers it).
    """

    kind: EventKind
    connection: str
    detail: str = ""
    subject: str = ""


class ConnectionLost(GatewayUnreachable):
    """The connection to the broker is down.

    Attributes:
        sent: Whether the message may have left before: True means that its effect is unknown,
            False that nothing was sent.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class NoResponders(GatewayUnreachable):
    """The broker is there, but nobody listens on the subject: no worker, and nothing was done."""


class RefusedByBroker(PermissionDenied):
    """The broker's own lock refused the subject; nothing was sent."""


class PublishFailed(Exception):
    """JetStream did not acknowledge a message; never on the wire, the subclass says why."""


class NotPublished(PublishFailed):
    """Nothing was sent: no connection, no permission, no stream, or too much waits already."""


class NotAcknowledged(PublishFailed):
    """It may be stored, or may not: publish it again with the same message id to find out."""


class PublishRefused(PublishFailed):
    """The server answered that it did not store the message.

    Attributes:
        err_code: The server's number, such as 10077 (maximum bytes exceeded) or 10201 (duplicate
            in an atomic batch); 0 when the answer is ours to refuse.
        description: The server's words.
    """

    def __init__(self, err_code: int, description: str) -> None:
        super().__init__(f"JetStream refused the message: {description} ({err_code})")
        self.err_code = err_code
        self.description = description
