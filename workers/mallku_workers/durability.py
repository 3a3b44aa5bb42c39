"""The declared durability: the weaker of audit stream and store, each as it says itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import structlog

from mallku_broker.durability import Fill, StreamDurability, StreamState
from mallku_contracts.durability import Durability
from mallku_contracts.errors import ConfigurationError, MallkuError
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.trail import Verb, about_gateway

FILLING: Final = "filling"
"""The advisory that the audit stream is nearly full. Facts: `FILLING_FACTS`."""

FILLING_FACTS: Final = ("advisory", "stream", "bytes", "limit")
"""Which advisory it is, the stream, and how much of how much is used, bytes."""

_log = structlog.get_logger("mallku.durability")


@dataclass(frozen=True, slots=True)
class DeclaredDurability:
    """What an acknowledged mutation survives, and which part decides it."""

    stream: StreamDurability
    store: Durability

    @property
    def level(self) -> Durability:
        """The weaker part's level."""
        return min(self.stream.level, self.store)

    @property
    def in_groups(self) -> bool:
        """Whether the stream's acknowledgements wait for a disk, so that records share them."""
        return self.stream.level >= Durability.FSYNC

    def require(self, wanted: Durability) -> None:
        """Go on only where an acknowledged mutation survives as much as wanted.

        Raises:
            ConfigurationError: naming both parts.
        """
        if self.level < wanted:
            raise ConfigurationError(
                f"durability {wanted} is required (MALLKU_WORKER_REQUIRE_DURABILITY), and only"
                f" {self.level} is there: the audit stream has {self.stream.level}"
                f" ({self.stream.reason}), the store {self.store}"
            )


class Administrative(Protocol):
    """Where records about the gateway go; an `AuditWriter` is one."""

    def administrative(self, subject: CommandSubject, kind: str, **fields: Any) -> None:
        """Put a record about the gateway on the trail; nobody waits for it."""
        ...


class StreamWatch:
    """Looks at the audit stream from time to time: how full it is, and what it still promises.

    Args:
        read: How the stream is asked.
        name: The stream's.
        declared: What was found at the start; `declared` has what was found last.
        required: The worker's own demand.

    Attributes:
        state: What the stream said last; None before it was asked.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[StreamState]],
        audit: Administrative,
        name: str,
        declared: DeclaredDurability,
        required: Durability,
    ) -> None:
        self.declared = declared
        self._read = read
        self._audit = audit
        self._name = name
        self._required = required
        self._alarmed = False
        self.state: StreamState | None = None

    async def keep_looking(self, every_s: float) -> None:
        """Look every so many seconds, for ever.

        Raises:
            ConfigurationError: the durability fell below what is required.
        """
        while True:
            try:
                state = await self._read()
            except MallkuError as error:  # a trail that is silent is the writer's to say
                _log.debug("stream_not_read", stream=self._name, reason=error.message)
            else:
                self.see(state)
            await asyncio.sleep(every_s)

    def see(self, state: StreamState) -> None:
        """Take in what the stream said; raises as `keep_looking`."""
        self.state = state
        self._see_fill(state.fill)
        if not state.silent:  # a server that is away for a moment has not changed its mind
            self._see_durability(state.durability)

    def _see_fill(self, fill: Fill) -> None:
        """Say it once when the stream becomes nearly full, in the log and on the trail itself."""
        if fill.alarming and not self._alarmed:
            facts = (FILLING, self._name, fill.used, fill.limit)
            named = dict(zip(FILLING_FACTS, facts, strict=True))
            _log.warning("stream_filling", percent=int(100 * fill.share), **named)
            self._audit.administrative(about_gateway(Verb.ADVISORY), "done", facts=named)
        self._alarmed = fill.alarming

    def _see_durability(self, stream: StreamDurability) -> None:
        former, self.declared = self.declared, replace(self.declared, stream=stream)
        if former.level != self.declared.level:
            _log.warning(
                "durability_changed",
                former=str(former.level),
                now=str(self.declared.level),
                reason=stream.reason,
            )
        self.declared.require(self._required)
