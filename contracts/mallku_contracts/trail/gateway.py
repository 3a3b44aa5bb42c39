"""What records about the gateway itself are called: start, stop, and what happens to the trail.

They stand among the others under `CommandSubject("_gateway", "mallku_audit", "@", verb)`, with the
kind `done`; what there is to say stands in `facts`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from mallku_contracts.governed import GATEWAY
from mallku_contracts.subjects import NO_COLLECTION, CommandSubject

TRAIL: Final = "mallku_audit"
"""Stands for the database in records about workers and the trail."""


class Verb(StrEnum):
    """What happened to the gateway, in the place of the operation."""

    START = "start"
    """A worker is about to serve; at most what it adopted stands before. Facts: `START_FACTS`."""
    STOP = "stop"
    """A worker ends in order; its last record. Facts: `STOP_FACTS`."""
    RECONCILE = "reconcile"
    """Intents without outcome were looked into."""
    ROTATE = "rotate"
    """The stream was sealed and another one begun."""
    ADVISORY = "advisory"
    """The server said something about the stream."""
    READ = "read"
    """Somebody read the trail."""


START_FACTS: Final = ("store", "durability", "version", "policy", "kid")
"""Store, durability, version of the gateway, version of the policy, id of the worker's key."""

STOP_FACTS: Final = ("records", "cut_off")
"""How many records it wrote before this one, and how many commands it could not finish."""


def about_gateway(verb: Verb) -> CommandSubject:
    """Stands in the audit subject of records that say this of the gateway."""
    return CommandSubject(GATEWAY, TRAIL, NO_COLLECTION, verb.value)
