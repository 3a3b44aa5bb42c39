"""One worker's answer about itself, read and judged: pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mallku_contracts.discovery import MAX_ANSWER_BYTES, Question, believe
from mallku_contracts.errors import EnvelopeError
from mallku_contracts.limits import MAX_CLOCK_SKEW_MS
from mallku_contracts.trust import Trust

_LEEWAY_S: Final = MAX_CLOCK_SKEW_MS / 1_000
STATS: Final = "io.nats.micro.v1.stats_response"
"""The type of the answers that are read here."""


class NoSighting(Exception):
    """What came is no worker's answer; says why."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a worker said of itself at one moment.

    Attributes:
        instance: The worker's id.
        principal: Who it proved to be; empty when it proved nothing.
        doubt: Why it is not believed; empty when it is.
        state: What it said beyond ADR-32: load, breakers, trail, health.
        metadata: As ADR-32 has it.
        endpoints: As ADR-32 has them.
    """

    instance: str
    version: str
    principal: str
    doubt: str
    state: Mapping[str, Any]
    metadata: Mapping[str, str]
    endpoints: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    @property
    def health(self) -> Mapping[str, Any]:
        """What it says of its health."""
        said: Mapping[str, Any] = self.state.get("health", {})
        return said

    @property
    def is_ready(self) -> bool:
        """Whether it says so, and is believed."""
        return not self.doubt and self.health.get("ready") is True

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not ready."""
        doubt = (f"not believed: {self.doubt}",) if self.doubt else ()
        return (*doubt, *(str(reason) for reason in self.health.get("reasons", ())))

    def to_json(self) -> dict[str, Any]:
        """As one line for machines."""
        return {
            "id": self.instance,
            "worker": self.principal,
            "verified": not self.doubt,
            "doubt": self.doubt,
            "version": self.version,
            "store": self.metadata.get("store", ""),
            "durability": self.metadata.get("durability", ""),
            "policy_version": self.metadata.get("policy_version", ""),
            "http": self.metadata.get("http", ""),
            **self.state,
        }


def read_sighting(
    question: Question, answer: bytes, headers: Mapping[str, str], trust: Trust, now_s: float
) -> Sighting:
    """Read an answer to `$SRV.STATS`, and whether its signature makes it believable.

    Raises:
        NoSighting: it is no such answer.
    """
    body = _read(answer)
    principal, doubt = "", ""
    try:
        identity = believe(question, answer, headers, trust, now_s=now_s, leeway_s=_LEEWAY_S)
        principal = identity.principal
    except EnvelopeError as error:
        doubt = error.message
    state = body.get("worker")
    return Sighting(
        instance=body["id"],
        version=str(body.get("version", "")),
        principal=principal,
        doubt=doubt,
        state=state if isinstance(state, dict) else {},
        metadata=_texts(body.get("metadata")),
        endpoints=tuple(each for each in _list(body.get("endpoints")) if isinstance(each, dict)),
    )


def _read(answer: bytes) -> dict[str, Any]:
    if len(answer) > MAX_ANSWER_BYTES:
        raise NoSighting(f"{len(answer)} bytes are more than an answer has")
    try:
        body = json.loads(answer)
    except (ValueError, RecursionError):
        raise NoSighting("it is not JSON") from None
    if not isinstance(body, dict) or body.get("type") != STATS:
        raise NoSighting("it is no answer to $SRV.STATS")
    if not isinstance(body.get("id"), str):
        raise NoSighting("it has no id")
    return body


def _texts(value: object) -> dict[str, str]:
    given = value if isinstance(value, dict) else {}
    return {str(name): str(text) for name, text in given.items()}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
