"""How well the trail's streams are kept, by what the server says of them: judged, never assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mallku_broker.durability import Fill, fill_of, servers_of
from mallku_broker.streams import (
    AUDIT,
    Drift,
    StreamDefinition,
    StreamSettings,
    compare,
    definitions,
    sealed_subject,
)

HOLDING: Final = frozenset(
    {
        "subjects",
        "storage",
        "retention",
        "discard",
        "max_msgs",
        "max_age",
        "allow_rollup_hdrs",
        "sealed",
        "deny_delete",
        "deny_purge",
    }
)
"""Fields that keep a record from being lost, or refused; sizes are for people to judge."""

LEADING_AWAY: Final = (
    "republish",
    "mirror",
    "sources",
    "subject_transform",
    "max_msgs_per_subject",
)
"""Fields that the trail's streams do not have: records go elsewhere by them, come from elsewhere,
or are dropped."""


@dataclass(frozen=True, slots=True)
class StreamCustody:
    """How one stream is kept.

    Attributes:
        weak: What is not as it has to be.
        fill: How full it is.
        copies: On how many servers it is to be kept.
        servers: Where it is now, the leader first.
        behind: Those that do not have all of it at the moment, or are not there.
        placement: Where it has to be; empty where that is left to the server.
        consumers: How many read it now.
    """

    stream: str
    weak: tuple[Drift, ...]
    fill: Fill
    copies: int
    servers: tuple[str, ...]
    behind: tuple[str, ...]
    placement: Mapping[str, Any]
    consumers: int

    @property
    def is_sound(self) -> bool:
        """Whether nothing is weak, no copy is behind, and there is room."""
        return not (self.weak or self.behind or self.fill.alarming)


def _wanted(stream: str, *, sealed: bool) -> StreamDefinition:
    """What a stream of the trail has to be; of those that were sealed, it is that they are."""
    known = {each.name: each for each in definitions(StreamSettings())}
    wanted = known.get(stream, known[AUDIT])
    changes = {"sealed": True, "subjects": [sealed_subject(stream)]} if sealed else {}
    return StreamDefinition(stream, {**wanted.configuration, "name": stream, **changes})


def judge_custody(info: Mapping[str, Any], *, sealed: bool = False) -> StreamCustody:
    """Judge a stream of the trail by its STREAM.INFO.

    Args:
        sealed: Another stream goes on: this one has to take nothing any more.
    """
    found: Mapping[str, Any] = info["config"]
    stream = str(found["name"])
    wanted = _wanted(stream, sealed=sealed)
    drifts = [each for each in compare(wanted, found) if each.field in HOLDING]
    drifts += [
        Drift(stream, name, None, found[name], safe=False)
        for name in LEADING_AWAY
        if found.get(name) not in (None, -1, 0, [], {})
    ]
    cluster = info.get("cluster") or {}
    peers = cluster.get("replicas") or ()
    behind = [str(peer["name"]) for peer in peers if peer.get("offline") or not peer.get("current")]
    return StreamCustody(
        stream,
        tuple(drifts),
        replace(fill_of(info), limit=0) if sealed else fill_of(info),
        int(found.get("num_replicas", 1)),
        servers_of(info),
        tuple(behind),
        found.get("placement") or {},
        int(info["state"].get("consumer_count", 0)),
    )
