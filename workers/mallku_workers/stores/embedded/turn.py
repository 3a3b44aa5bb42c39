"""Whose turn it is to wait for the write lock: fairness among processes.

SQLite's lock goes to whoever tries at the right moment, which a busy process does better than one
that waits. So a process takes its turn first (a lock on a file of its own), tries for the write
lock only while it has the turn, and gives the turn back once it has the write lock. Whoever just
wrote has to queue for the turn like everybody else.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mallku_contracts.errors import Unavailable

BETWEEN_TRIES_S: Final = 0.001
"""Between two tries for the turn at the start of a store, seconds."""


class Turn:
    """The turn of one writer; the file beside the database is made with mode 0600."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_suffix(".turn")
        self._file: int | None = None

    def try_take(self) -> bool:
        """Take the turn if nobody has it."""
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise Unavailable(f"{self._path.name}: {error.strerror}") from None
        return True

    @contextmanager
    def taken(self, timeout_s: float) -> Generator[None]:
        """Have the turn for a while, and close the file afterwards.

        Raises:
            Unavailable: others had it for longer than `timeout_s`.
        """
        give_up = time.monotonic() + timeout_s
        try:
            while not self.try_take():
                if time.monotonic() > give_up:
                    raise Unavailable(f"{self._path.name}: others are busy with the database")
                time.sleep(BETWEEN_TRIES_S)
            yield
        finally:
            self.close()

    def give_back(self) -> None:
        """Let the next one try."""
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file, which gives the turn back too."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
