"""What the server says by itself about streams: what happened to them, and who called for it.

`$JS.EVENT.ADVISORY.STREAM.<event>.<stream>` says what happened to a stream, and
`$JS.EVENT.ADVISORY.API` which call of the JetStream API was answered, for whom, and how (ADR-2 and
the schemas `io.nats.jetstream.advisory.v1.stream_action` and `.api_audit`). Both come in RECORDS,
once, while somebody listens: the server keeps none.

Nobody else may be able to say them. The subscriptions have wildcards, which no consumer's
`deliver_subject` reaches (`docs/decisions/0007`); messages that the server hands out for somebody
who named such a subject for the answer have headers, a reply subject, or are of another type.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mallku_broker.accounts import (
    TRAIL_STREAMS,
)
from mallku_broker.jetstream import JETSTREAM_API

ADVISORIES: Final = "$JS.EVENT.ADVISORY"
"""Below it the server says what happened."""

CALLS: Final = f"{ADVISORIES}.*"
"""Where calls are told of; a wildcard, though one subject matches it, and for that very reason."""

ADVISORY_QUEUE: Final = "mallku.advisories"
"""Each advisory comes to one of the workers."""

MAX_ADVISORY_BYTES: Final = 1_048_576
"""An advisory that is longer is taken for none, bytes: it holds a request and its answer."""

MAX_TEXT_CHARS: Final = 256
"""What is taken over of each text, characters: callers choose some of them."""

MAX_FILTERS: Final = 16
"""Of the subjects that a reader asked for, so many are taken over."""

_API_AUDIT: Final = "io.nats.jetstream.advisory.v1.api_audit"
_ADVISORY_TYPES: Final = "io.nats.jetstream.advisory.v1."
_CHANGES: Final = (
    "STREAM.CREATE",
    "STREAM.UPDATE",
    "STREAM.DELETE",
    "STREAM.PURGE",
    "STREAM.RESTORE",
    "STREAM.MSG.DELETE",
    "STREAM.PEER.REMOVE",
    "STREAM.LEADER.STEPDOWN",
)
_READS: Final = (
    "CONSUMER.CREATE",
    "CONSUMER.DURABLE.CREATE",
    "STREAM.MSG.GET",
    "STREAM.SNAPSHOT",
)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to one of the trail's streams, whoever brought it about.

    Attributes:
        id: The server's own for this advisory.
        time: When, by the server, RFC 3339.
        name: `updated`, `deleted`, `leader_elected`, …
    """

    id: str
    time: str
    name: str
    stream: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the JetStream API that was answered; `id` and `time` as of `Event`.

    Attributes:
        name: `STREAM.UPDATE`, `CONSUMER.CREATE`, …
        consumer: Its name, where the subject has one.
        account: Where whoever called is connected; empty where the server did not say.
        key: The public nkey of the connection; empty where the server did not say.
        refused: The server's number for why not; 0 for a call that was carried out.
        request: What was asked for; empty where it is not JSON.
    """

    id: str
    time: str
    name: str
    stream: str
    consumer: str
    account: str
    key: str
    refused: int
    request: Mapping[str, Any] = field(repr=False)

    @property
    def changes(self) -> bool:
        """Whether it asks for another stream than there was, whichever."""
        return self.name in _CHANGES

    @property
    def reads(self) -> bool:
        """Whether somebody got to read one of the trail's streams by it."""
        return self.name in _READS and self.stream in TRAIL_STREAMS and not self.refused

    @property
    def filters(self) -> list[str]:
        """The subjects that a consumer is for; empty for all of the stream."""
        wanted = self.request.get("config")
        config: Mapping[str, Any] = wanted if isinstance(wanted, dict) else {}
        many = config.get("filter_subjects")
        listed: list[Any] = many if isinstance(many, list) else [config.get("filter_subject")]
        return [_text(each) for each in listed[:MAX_FILTERS] if each]


def advisory_subjects() -> tuple[str, ...]:
    """What a worker listens to, in the queue `ADVISORY_QUEUE` alone."""
    return (CALLS, *(f"{ADVISORIES}.STREAM.*.{stream}" for stream in TRAIL_STREAMS))


def read_advisory(
    subject: str, reply: str, body: bytes, header: bytes | None
) -> Event | Call | None:
    """What the server says; None for no advisory, and for calls that neither read nor change.

    Never raises, whatever came.
    """
    if reply or header or len(body) > MAX_ADVISORY_BYTES:
        return None  # handed out by the server for somebody, not said by it
    said = _object(body)
    kind = said.get("type")
    if kind == _API_AUDIT and subject == f"{ADVISORIES}.API":
        call = _call(said)
        return call if call is not None and (call.changes or call.reads) else None
    tokens = subject.removeprefix(f"{ADVISORIES}.").split(".")
    match tokens:
        case ["STREAM", event, stream] if _says(kind, said, stream):
            return Event(_text(said.get("id")), _text(said.get("timestamp")), event.lower(), stream)
        case _:
            return None


def _says(kind: Any, said: Mapping[str, Any], stream: str) -> bool:
    typed = isinstance(kind, str) and kind.startswith(_ADVISORY_TYPES) and kind != _API_AUDIT
    return typed and said.get("stream") == stream


def _call(said: Mapping[str, Any]) -> Call | None:
    subject = said.get("subject")
    if not isinstance(subject, str) or not subject.startswith(f"{JETSTREAM_API}."):
        return None
    named = subject.removeprefix(f"{JETSTREAM_API}.")
    name = next((name for name in (*_CHANGES, *_READS) if named.startswith(f"{name}.")), None)
    if name is None:
        return None
    stream, _, consumer = named.removeprefix(f"{name}.").partition(".")
    client = said.get("client")
    who: Mapping[str, Any] = client if isinstance(client, dict) else {}
    return Call(
        _text(said.get("id")),
        _text(said.get("timestamp")),
        name,
        _text(stream),
        _text(consumer.partition(".")[0]),
        _text(who.get("acc")),
        _text(who.get("user")),
        _refused(said.get("response")),
        _object(said.get("request")),
    )


def _refused(response: Any) -> int:
    """The server's number for why it refused; 1 where it refused without one."""
    error = _object(response).get("error")
    if not isinstance(error, dict):
        return 0
    code = error.get("err_code")
    return code if type(code) is int and code > 0 else 1


def _object(text: Any) -> dict[str, Any]:
    if not isinstance(text, str | bytes):
        return {}
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    return value[:MAX_TEXT_CHARS].encode("utf-8", "replace").decode()  # JSON may hold surrogates
