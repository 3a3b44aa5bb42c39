from __future__ import annotations

import json
from typing import Any

import pytest

from mallku_broker.custody import judge_custody
from mallku_broker.streams import AUDIT, StreamSettings, definitions
from mallku_deploy.auditing.custody import complaints, show

(CONFIGURATION,) = (
    dict(each.configuration) for each in definitions(StreamSettings()) if each.name == AUDIT
)


def _info(**changes: Any) -> dict[str, Any]:
    return {
        "config": CONFIGURATION | changes,
        "state": {"bytes": 1, "consumer_count": 2},
        "cluster": {"leader": "n1", "replicas": [{"name": "n[2]", "current": False}]},
    }


def test_machines_get_what_people_get(capsys: pytest.CaptureFixture[str]) -> None:
    """One line of JSON with every complaint, and the same words for people; names are no markup."""
    found = [judge_custody(_info(deny_purge=False, placement={"tags": ["vault"]}))]
    show(found, compact=True)
    (told,) = json.loads(capsys.readouterr().out)
    assert told["sound"] is False
    assert told["complaints"] == complaints(found[0])
    assert any("deny_purge" in words for words in told["complaints"])
    assert (told["servers"], told["placement"]) == (["n1", "n[2]"], {"tags": ["vault"]})
    show(found, compact=False)
    said = capsys.readouterr().out
    assert "n[2] does not have all of it" in said
    assert "nothing can be deleted" not in said
