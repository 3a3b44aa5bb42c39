"""Which part of the trail somebody asked for on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from mallku_client.trail import Selection
from mallku_contracts.errors import ConfigurationError
from mallku_deploy.stretch import read_since


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What was typed; texts and numbers as they were.

    Attributes:
        since, until: A time, or how long ago.
        first, last: Sequences in the stream.
    """

    since: str | None = None
    until: str | None = None
    first: int | None = None
    last: int | None = None
    principals: Sequence[str] = field(default_factory=tuple)
    databases: Sequence[str] = field(default_factory=tuple)
    collections: Sequence[str] = field(default_factory=tuple)
    operations: Sequence[str] = field(default_factory=tuple)
    outcomes: Sequence[str] = field(default_factory=tuple)
    follow: bool = False

    def selection(self, now: datetime) -> Selection:
        """What to read; the end of time is now, unless it is followed.

        Raises:
            ConfigurationError, InvalidSubject: naming what cannot be meant.
        """
        if self.since is not None and self.first is not None:
            raise ConfigurationError(
                "begin at a time (--since) or at a sequence (--from), not both"
            )
        if self.follow and (self.until is not None or self.last is not None):
            raise ConfigurationError("what is followed has no end: leave out --until and --to")
        since, until = self._moment(self.since, now), self._moment(self.until, now)
        if since is not None and until is not None and since > until:
            raise ConfigurationError("--since lies after --until")
        return Selection(
            principals=tuple(self.principals),
            databases=tuple(self.databases),
            collections=tuple(self.collections),
            operations=tuple(self.operations),
            outcomes=tuple(self.outcomes),
            first=self.first or 1,
            last=self.last,
            since_ms=since,
            until_ms=until,
        )

    @staticmethod
    def _moment(text: str | None, now: datetime) -> int | None:
        return None if text is None else int(read_since(text, now).timestamp() * 1_000)


def with_intents(selection: Selection) -> Selection:
    """The same with the intents of what is selected: they say what outcomes are about."""
    if not selection.outcomes or "intent" in selection.outcomes:
        return selection
    return replace(selection, outcomes=(*selection.outcomes, "intent"))


def now() -> datetime:
    """The moment that `10m` counts from."""
    return datetime.now(UTC)
