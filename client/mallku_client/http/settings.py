"""What the environment says about a door beside what it says about any client."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from mallku_contracts.dpop import MAX_PROOF_ATTEMPTS
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.limits import KIB, MAX_COMMAND_BYTES, MAX_COMMAND_LIFE_MS

DEFAULT_PORT: Final = 8080
MAX_WAIT_S: Final = MAX_COMMAND_LIFE_MS / 1_000
"""The longest that one request may wait for its answer, seconds."""

MAX_HEADER_BYTES: Final = 32 * KIB
"""All headers of one request with its first line, bytes: two tokens and a margin."""


_LOG_LEVELS: Final = ("debug", "info", "warning", "error")


def _env(variable: str, read: Callable[[str], Any], *, unit: str = "") -> Mapping[str, Any]:
    return {"variable": variable, "read": read, "unit": unit}


def _within(low: float, high: float, kind: type = int) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        number = kind(text)
        if not low <= number <= high:
            raise ValueError(f"expected {low:g} to {high:g}")
        return number

    return read


def _log_level(text: str) -> str:
    if text.lower() not in _LOG_LEVELS:
        raise ValueError(f"expected one of {', '.join(_LOG_LEVELS)}")
    return text.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    """Where a door listens, whom it serves with keys it holds, and how much it takes on.

    Attributes:
        host: The address to listen at; loopback unless told otherwise.
        port: 0 takes a free one.
        origin: How callers reach it, as the policy has it; by default `http://127.0.0.1:PORT`.
        services_file: The callers that cannot sign: their secrets' hashes and their keys (JSON).
        max_requests: Requests under way at a time; more are answered 503 at once.
        max_body_bytes: The content of one request.
        body_timeout_s: From a request's first byte to the last of its content.
        wait_s: How long a request waits for its answer, unless `Prefer: wait=` says otherwise.
        max_attempts: Attempts of one command.
        log_level: From which level on lines are written to standard error; requests are `info`.
        drain_s: How long requests under way may take once the door is to close.
    """

    host: str = field(default="127.0.0.1", metadata=_env("MALLKU_HTTP_HOST", str))
    port: int = field(default=DEFAULT_PORT, metadata=_env("MALLKU_HTTP_PORT", _within(0, 65_535)))
    origin: str | None = field(default=None, metadata=_env("MALLKU_HTTP_ORIGIN", str.lower))
    services_file: Path | None = field(
        default=None, metadata=_env("MALLKU_HTTP_SERVICES_FILE", Path)
    )
    max_requests: int = field(
        default=256, metadata=_env("MALLKU_HTTP_MAX_REQUESTS", _within(1, 4_096))
    )
    max_body_bytes: int = field(
        default=MAX_COMMAND_BYTES,
        metadata=_env("MALLKU_HTTP_MAX_BODY_BYTES", _within(1, MAX_COMMAND_BYTES), unit="bytes"),
    )
    body_timeout_s: float = field(
        default=10.0,
        metadata=_env("MALLKU_HTTP_BODY_TIMEOUT", _within(0.1, MAX_WAIT_S, float), unit="s"),
    )
    wait_s: float = field(
        default=10.0, metadata=_env("MALLKU_HTTP_WAIT", _within(0.1, MAX_WAIT_S, float), unit="s")
    )
    max_attempts: int = field(
        default=5, metadata=_env("MALLKU_HTTP_MAX_ATTEMPTS", _within(1, MAX_PROOF_ATTEMPTS))
    )
    log_level: str = field(default="info", metadata=_env("MALLKU_HTTP_LOG_LEVEL", _log_level))
    drain_s: float = field(
        default=5.0, metadata=_env("MALLKU_HTTP_DRAIN", _within(0.1, MAX_WAIT_S, float), unit="s")
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> DoorSettings:
        """Read the process's environment, or another; an empty variable counts as not set.

        Raises:
            ConfigurationError: naming the variable and what it may hold.
        """
        source = os.environ if environment is None else environment
        found = {
            item: text
            for item in fields(cls)
            if (text := source.get(item.metadata["variable"], "").strip())
        }
        return cls(**{item.name: _read(item.metadata, text) for item, text in found.items()})


def _read(metadata: Mapping[str, Any], text: str) -> Any:
    try:
        return metadata["read"](text)
    except ValueError as error:
        raise ConfigurationError(f"{metadata['variable']}={text[:80]!r}: {error}") from None
