"""The worker's log: lines for refusals, surprises and turns of its life, none for a mere command.

A line holds what was chosen to stand in it. Of exceptions it has the kind and the places in our
code; what they say is repeated only where it is made to be read (`MallkuError`) or is the operating
system's. What looks like a secret is cut out of whatever comes.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal

import structlog

from mallku_contracts.errors import MallkuError

LEVELS: Final[Mapping[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""Levels by name, the least severe first."""

MAX_CAUSES: Final = 8
"""Exceptions behind each other that a line tells of."""

MAX_FRAMES: Final = 30
"""Places in the code of one exception, the innermost last."""

Format = Literal["json", "console"]

_CUT: Final = "[cut out]"
_SECRETS: Final = (
    re.compile(r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}"),  # a JWT
    re.compile(r"\bS[ACNOPUX][A-Z2-7]{56}\b"),  # the seed of an nkey
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*-----|$)", re.DOTALL),
    re.compile(r"(?<=://)[^/@\s]+:[^/@\s]+(?=@)"),  # name and password in a URL
)
_EVENT_METHODS: Final = {"exception": "error", "warn": "warning", "critical": "error"}


class Threshold:
    """The least severe level that is written; may change while the worker runs."""

    def __init__(self, level: str) -> None:
        self.level = level

    def __call__(
        self, _logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Drop the lines below it; a processor of structlog."""
        if LEVELS[_EVENT_METHODS.get(method, method)] < LEVELS[self.level]:
            raise structlog.DropEvent
        return event


def configure(level: str, form: Format = "json", **always: str) -> Threshold:
    """Write lines of at least `level` to standard error; `always` stands in each of them.

    Returns:
        What the level can be changed with.
    """
    threshold = Threshold(level)
    structlog.configure(
        processors=[
            threshold,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            describe_exception,
            cut_secrets,
            _renderer(form),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("debug"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**always)
    return threshold


def change_on_signals(threshold: Threshold) -> None:
    """SIGUSR1 lets every line through, SIGUSR2 those of the level that is set now.

    Whoever may send signals to the process may read its log as well; nothing secret is in either.
    """
    usual, loop = threshold.level, asyncio.get_running_loop()

    def change(level: str) -> None:
        threshold.level = level
        structlog.get_logger("mallku.logs").error("log_level", level=level, usual=usual)

    loop.add_signal_handler(signal.SIGUSR1, change, "debug")
    loop.add_signal_handler(signal.SIGUSR2, change, usual)


def describe_exception(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Put the kinds and places of an exception and its causes where the exception was."""
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = _told(error)
    return event


def cut_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Cut out of every text what looks like a token, a key or a password."""
    return {name: _without_secrets(value) for name, value in event.items()}


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        for secret in _SECRETS:
            value = secret.sub(_CUT, value)
        return value
    if isinstance(value, dict):
        return {name: _without_secrets(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_secrets(one) for one in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _without_secrets(_shown(value))


def _shown(value: object) -> str:
    """Of bytes how many, of anything else what it calls itself."""
    return f"{len(value)} bytes" if isinstance(value, bytes | bytearray) else str(value)


def _told(error: BaseException) -> list[dict[str, Any]]:
    """The exception and what it came from, nearest first."""
    told: list[dict[str, Any]] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and len(told) < MAX_CAUSES and id(current) not in seen:
        seen.add(id(current))
        frames = traceback.extract_tb(current.__traceback__)[-MAX_FRAMES:]
        places = [f"{_place(one.filename)}:{one.lineno} {one.name}" for one in frames]
        told.append({"kind": type(current).__name__, "says": _says(current), "at": places})
        current = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )
    return told


def _says(error: BaseException) -> str:
    """What may be repeated; what a library or we let slip may hold what a caller wrote."""
    if isinstance(error, MallkuError):
        return error.code
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return ""


def _place(path: str) -> str:
    """The file below the package it belongs to."""
    parts = path.replace(os.sep, "/").split("/")
    for package in ("site-packages", "dist-packages"):
        if package in parts:
            return "/".join(parts[parts.index(package) + 1 :])
    ours = [place for place, part in enumerate(parts) if part.startswith("mallku_")]
    return "/".join(parts[ours[-1] :]) if ours else parts[-1]


def _renderer(form: Format) -> Any:
    if form == "console":
        return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    return structlog.processors.JSONRenderer()
