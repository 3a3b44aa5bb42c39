"""How far a copy has come, in a file that outlives the process that makes it.

The file follows the target and never runs ahead of it: documents behind its key may be there
already, and are put there again. It is looked at before anything is written into a target
collection that holds documents: what it does not name is somebody else's.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mallku_broker.files import make_private_folder, read_private_text, write_private_text
from mallku_contracts.errors import ConfigurationError

SAVE_EVERY_S: Final = 0.1
"""Between two times that progress inside a collection is written down, seconds."""

_DIGITS: Final = 16


class Progress(BaseModel):
    """One collection: the last key that was copied, and how many documents were."""

    model_config = ConfigDict(extra="forbid", strict=True)

    after: str = ""
    documents: int = Field(default=0, ge=0)
    done: bool = False


class State(BaseModel):
    """A copy between two databases, by collection of the source."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: int = Field(default=1, ge=1, le=1)
    source: str
    target: str
    collections: dict[str, Progress] = Field(default_factory=dict)


class StateFile:
    """The state of one copy on disk; within its block no other process goes on with the same copy.

    Raises on construction:
        ConfigurationError: the file belongs to another copy, or is none of ours.
    """

    def __init__(self, path: Path, source: str, target: str) -> None:
        self.path = path
        self.resumed = path.exists()
        self.state = self._read() if self.resumed else State(source=source, target=target)
        if (self.state.source, self.state.target) != (source, target):
            raise ConfigurationError(
                f"{path}: belongs to a copy from {self.state.source} to {self.state.target}"
            )
        self._saved = 0.0
        self._lock: int | None = None

    def __enter__(self) -> Self:
        """Take the copy for this process alone.

        Raises:
            ConfigurationError: another process has it, or the folder cannot be used.
        """
        if not self.path.parent.exists():
            make_private_folder(self.path.parent)
        try:
            self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._unlock()
            raise ConfigurationError(f"{self.path}: this copy is under way elsewhere") from None
        except OSError as error:
            self._unlock()
            raise ConfigurationError(f"{self._lock_path}: {error.strerror}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.lock")

    def _read(self) -> State:
        try:
            return State.model_validate_json(read_private_text(self.path, "state file"))
        except ValidationError:
            raise ConfigurationError(f"{self.path}: not the state of a copy") from None

    def progress(self, collection: str) -> Progress:
        """How far a collection is; kept in the file from the next `save` on."""
        return self.state.collections.setdefault(collection, Progress())

    def knows(self, collection: str) -> bool:
        """Whether what the target has under this name is this copy's."""
        return collection in self.state.collections

    def save(self, *, now: bool = True) -> None:
        """Write it down; without `now` only if the last time is a while ago.

        Raises:
            ConfigurationError: it cannot be written.
        """
        if not now and time.monotonic() - self._saved < SAVE_EVERY_S:
            return
        write_private_text(self.path, self.state.model_dump_json(indent=1) + "\n")
        self._saved = time.monotonic()

    def remove(self) -> None:
        """The copy is whole and verified."""
        self.path.unlink(missing_ok=True)
        self._lock_path.unlink(missing_ok=True)


def state_name(source: str, target: str) -> str:
    """What the file of a copy is called where nobody says."""
    digest = hashlib.sha256(f"{source}\n{target}".encode()).hexdigest()
    return f"copy-{digest[:_DIGITS]}.json"
