"""One `up` for each house: who holds the lock lives there, others learn how to reach them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import Final

from mallku_broker.files import read_private_text, write_private_text
from mallku_contracts.errors import ConfigurationError, Unavailable
from mallku_deploy.house import House

WAIT_FOR_OTHER_S: Final = 10.0
"""How long a second `up` waits for the first to become ready, seconds."""

_LOOK_S: Final = 0.1  # between two looks at what the first wrote down


@dataclass(frozen=True, slots=True)
class Running:
    """The `up` that lives in a house: its process, and where its gateway answers."""

    pid: int
    url: str
    workers: int
    durability: str = "flush"


class HouseTaken(Exception):
    """Another `up` holds the lock."""


@contextlib.contextmanager
def tenancy(house: House) -> Generator[None]:
    """Hold the house's lock; the kernel gives it back however this process ends.

    Raises:
        HouseTaken: somebody else holds it.
    """
    descriptor = os.open(house.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HouseTaken from None
        house.running.unlink(missing_ok=True)
        try:
            yield
        finally:
            house.running.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def tell(house: House, running: Running) -> None:
    """Write down how to reach the gateway; only the holder of the lock may."""
    write_private_text(house.running, json.dumps(asdict(running)) + "\n")


def meet(house: House, wait_s: float = WAIT_FOR_OTHER_S) -> Running:
    """The `up` that lives here, as soon as it is ready.

    Raises:
        Unavailable: it did not become ready within `wait_s` seconds.
    """
    end = time.monotonic() + wait_s
    while (running := find(house)) is None:
        if time.monotonic() >= end:
            raise Unavailable(
                f"another mallku-gateway holds {house.lock} and is not ready", retry_after=wait_s
            )
        time.sleep(_LOOK_S)
    return running


def find(house: House) -> Running | None:
    """What the `up` that lives here wrote down, and takes away when it leaves; else None.

    One that was killed leaves it behind until the next one moves in.
    """
    try:
        return Running(**json.loads(read_private_text(house.running, "running file")))
    except (ConfigurationError, TypeError, ValueError):
        return None
