"""What is to be rebuilt where, as somebody asked for it on the command line."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mallku_broker.files import make_private_folder
from mallku_client.trail import AUDIT, StreamState, TrailEntry
from mallku_contracts.errors import ConfigurationError
from mallku_deploy.house import default_house
from mallku_deploy.stretch import read_since
from mallku_workers.rebuilding import Identity, Wanted, WorkFile
from mallku_workers.stores.copying import Spec, read_spec

_DIGITS: Final = 16
_MS_PER_S: Final = 1_000


@dataclass(frozen=True, slots=True)
class Until:
    """Where the trail ends for a rebuild; times are Unix milliseconds of the stream."""

    sequence: int | None = None
    time_ms: int | None = None

    @classmethod
    def read(cls, text: str | None) -> Until:
        """A sequence, a time, or how long ago; `ConfigurationError` when it is none of these."""
        if text is None:
            return cls()
        if text.isdecimal():
            return cls(sequence=int(text))
        moment = read_since(text, datetime.now(UTC))
        return cls(time_ms=int(moment.timestamp() * _MS_PER_S))

    def __str__(self) -> str:
        if self.sequence is not None:
            return f"sequence {self.sequence}"
        return "" if self.time_ms is None else f"time {self.time_ms}"

    def covers(self, entry: TrailEntry) -> bool:
        """Whether an entry counts."""
        return (self.sequence is None or entry.sequence <= self.sequence) and (
            self.time_ms is None or entry.time <= self.time_ms
        )


@dataclass(frozen=True, slots=True)
class Order:
    """One rebuild; credentials are a user's name and password file, or None.

    Attributes:
        into: The target's specification.
        database: Of the gateway.
        compare_with: The specification of what it is held against; None for nothing.
        state: The work file; None for one of its own.
    """

    into: str
    database: str
    into_credentials: tuple[str | None, Path | None] = (None, None)
    until: Until = Until()
    collections: tuple[str, ...] = ()
    resume: bool = False
    compare_with: str | None = None
    compare_credentials: tuple[str | None, Path | None] = (None, None)
    state: Path | None = None

    @property
    def target(self) -> Spec:
        """Where it is put, by default under the same name."""
        return self._spec(self.into)

    @property
    def other(self) -> Spec | None:
        """What it is held against.

        Raises:
            ConfigurationError: that is the target itself.
        """
        if self.compare_with is None:
            return None
        found = self._spec(self.compare_with)
        if found == self.target:
            raise ConfigurationError("--compare-with is the database that is rebuilt")
        return found

    def _spec(self, text: str) -> Spec:
        return read_spec(text if "#" in text else f"{text}#{self.database}")

    @property
    def wanted(self) -> Wanted:
        """What is made."""
        return Wanted(self.database, frozenset(self.collections))

    def work_file(self, info: StreamState) -> WorkFile:
        """The file of this rebuild; an unfinished one is gone on with only where that is asked for.

        Raises:
            ConfigurationError: there is one and should not be, or the other way round.
        """
        target = str(self.target)
        stream = f"{AUDIT} of {info.created}"
        names = tuple(sorted(self.collections))
        identity = Identity(stream, self.database, target, str(self.until), names)
        file = WorkFile(self.state or _own_path(self.database, target), identity)
        if file.resumed and not self.resume:
            raise ConfigurationError(
                f"a rebuild into {target} was begun and not finished: --resume goes on with it"
                f" (or remove {file.path} and what is in the target)"
            )
        if self.resume and not file.resumed:
            raise ConfigurationError(f"there is nothing to go on with: no {file.path}")
        return file


def _own_path(database: str, target: str) -> Path:
    root = default_house().root
    make_private_folder(root)
    digest = hashlib.sha256(f"{database}\n{target}".encode()).hexdigest()
    return root / "rebuilds" / f"rebuild-{digest[:_DIGITS]}.sqlite"
