"""A second trail in an account of its own: mirrors, which only grow as the trail does.

Whoever keeps them (`Account.KEEPERS`) may look at them and make them, and change nothing: neither
theirs, once made, nor the trail. Administrators of the trail cannot reach them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from mallku_broker.accounts import (
    AUDITED_STREAMS,
    KEEPER_PREFIX,
    MIRRORED,
    TRAIL_STREAMS,
    Permissions,
)
from mallku_broker.streams import (
    AUDIT,
    AUDIT_STREAMS,
    StreamDefinition,
    StreamSettings,
    definitions,
)
from mallku_contracts.subjects import inbox_prefix

_READING: Final = (
    "STREAM.INFO.{}",
    "STREAM.MSG.GET.{}",
    "CONSUMER.CREATE.{}.>",
    "CONSUMER.INFO.{}.*",
    "CONSUMER.MSG.NEXT.{}.*",
)
_OF_THE_TRAIL: Final = frozenset({"subjects", "allow_atomic", "duplicate_window", "discard"})


def mirror_of(stream: str) -> str:
    """The name of a stream's mirror."""
    return f"{stream}_MIRROR"


def mirror_definitions(
    settings: StreamSettings, streams: Iterable[str] = AUDITED_STREAMS
) -> tuple[StreamDefinition, ...]:
    """The mirrors of the trail's streams, for `streams.ensure` in the account KEEPERS.

    Args:
        settings: Sizes as of the trail itself, and where mirrors are kept: give them other servers.
        streams: Of `TRAIL_STREAMS`. A stream that a rotation began needs a mirror of its own.
    """
    unplaced = replace(settings, placement_cluster="", placement_tags=())
    wanted = {each.name: each.configuration for each in definitions(unplaced)}
    wanted |= dict.fromkeys(AUDIT_STREAMS, wanted[AUDIT])
    return tuple(_mirror(stream, dict(wanted[stream]), settings) for stream in streams)


def keeper(name: str) -> Permissions:
    """What a keeper may do: make the mirrors, and read them."""
    calls = [
        f"$JS.API.{call.format(mirror_of(stream))}"
        for stream in TRAIL_STREAMS
        for call in (*_READING, "STREAM.CREATE.{}")
    ]
    return Permissions(publish=tuple(calls), subscribe=(f"{inbox_prefix(name)}.>",))


def _mirror(
    stream: str, configuration: dict[str, Any], settings: StreamSettings
) -> StreamDefinition:
    kept = {name: each for name, each in configuration.items() if name not in _OF_THE_TRAIL}
    external = {"api": KEEPER_PREFIX, "deliver": f"{MIRRORED}.{stream}"}
    own = {"name": mirror_of(stream), "mirror": {"name": stream, "external": external}}
    placed = {"placement": settings.placement} if settings.placement else {}
    return StreamDefinition(mirror_of(stream), kept | own | placed)
