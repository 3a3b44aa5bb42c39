from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mallku_broker.accounts import (
    AUDITED_STREAMS,
)
from mallku_broker.custody import judge_custody
from mallku_broker.jetstream import ask
from mallku_broker.streams import AUDIT, StreamSettings, definitions, sealed_subject
from tests.support.nats import ADMINISTRATOR, nats_house

EXPECTED = {each.name: dict(each.configuration) for each in definitions(StreamSettings())}


def _info(stream: str = AUDIT, used: int = 0, **changes: Any) -> dict[str, Any]:
    config = EXPECTED[stream] | changes
    return {
        "config": config,
        "state": {"bytes": used, "consumer_count": 2},
        "cluster": {"leader": "n1"},
    }


async def test_what_the_gateway_makes_is_sound(tmp_path: Path) -> None:
    """On the real server, as it says it itself; and what an administrator weakens is named."""
    async with (
        nats_house(tmp_path / "house") as house,
        house.connection(ADMINISTRATOR) as connection,
    ):
        for stream in AUDITED_STREAMS:
            found = judge_custody(await ask(connection, f"STREAM.INFO.{stream}", {}))
            assert found.is_sound, found
            assert (found.stream, found.copies, len(found.servers)) == (stream, 1, 1)
        config = (await ask(connection, f"STREAM.INFO.{AUDIT}", {}))["config"]
        changes = {
            "discard": "old",
            "max_age": 10**12,
            "max_msgs": 7,
            "allow_rollup_hdrs": True,
            "max_msgs_per_subject": 1,
            "republish": {"src": "mallku.v1.audit.>", "dest": "leak.>"},
        }
        for name, value in changes.items():
            weakened = config | {name: value}
            if name == "allow_rollup_hdrs":
                continue  # the server refuses it beside `deny_purge`
            info = await ask(connection, f"STREAM.UPDATE.{AUDIT}", weakened)
            weak = {drift.field for drift in judge_custody(info).weak}
            assert name in weak
            assert not judge_custody(info).is_sound
            await ask(connection, f"STREAM.UPDATE.{AUDIT}", config)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("deny_delete", False),
        ("deny_purge", False),
        ("allow_rollup_hdrs", True),
        ("sealed", True),
        ("storage", "memory"),
        ("retention", "workqueue"),
        ("subjects", ["mallku.v1.audit.bob.>"]),
        ("sources", [{"name": "ELSEWHERE"}]),
        ("mirror", {"name": "ELSEWHERE"}),
    ],
)
@pytest.mark.parametrize("stream", AUDITED_STREAMS)
def test_whatever_could_lose_or_add_a_record_is_weak(stream: str, name: str, value: Any) -> None:
    """Each field alone, by its name."""
    found = judge_custody(_info(stream, **{name: value}))
    assert [drift.field for drift in found.weak] == [name]
    assert not found.is_sound


def test_sizes_and_copies_are_for_people_to_judge() -> None:
    """Another size, another number of copies, another place: shown, and not weak."""
    placement = {"cluster": "east", "tags": ["vault"]}
    found = judge_custody(_info(max_bytes=10**12, num_replicas=3, placement=placement))
    assert found.is_sound
    assert (found.copies, found.placement) == (3, placement)
    assert (found.fill.limit, found.consumers) == (10**12, 2)


def test_a_copy_that_is_behind_is_named() -> None:
    """Not current, or not there at all."""
    info = _info(num_replicas=3)
    info["cluster"]["replicas"] = [
        {"name": "n2", "current": True},
        {"name": "n3", "current": False},
        {"name": "n4", "current": True, "offline": True},
    ]
    found = judge_custody(info)
    assert found.servers == ("n1", "n2", "n3", "n4")
    assert found.behind == ("n3", "n4")
    assert not found.is_sound


def test_a_stream_that_fills_is_not_sound() -> None:
    """From four fifths on: full, it refuses everything."""
    assert judge_custody(_info(used=79, max_bytes=100)).is_sound
    assert not judge_custody(_info(used=80, max_bytes=100)).is_sound


def test_a_stream_that_others_go_on_from_has_to_be_sealed() -> None:
    """Then it is sound, however full; open, or under the subjects of another, it is not."""
    closed: dict[str, Any] = {"sealed": True, "subjects": [sealed_subject(AUDIT)], "max_bytes": 100}
    assert judge_custody(_info(used=99, **closed), sealed=True).is_sound
    for field, value in (("sealed", False), ("subjects", ["mallku.v1.audit.>"])):
        opened: dict[str, Any] = {**closed, field: value}
        found = judge_custody(_info(**opened), sealed=True)
        assert [drift.field for drift in found.weak] == [field]
