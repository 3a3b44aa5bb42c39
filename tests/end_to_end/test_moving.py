"""The package of the migration guide: all of its first state is found, and the second works."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

from mallku_deploy.migrating.files import check_paths
from mallku_deploy.migrating.rules import RULES, Finding
from tests.end_to_end.conftest import READY_S, clean_environment

ROOT = Path(__file__).resolve().parents[2]
MOVING = ROOT / "docs/examples/moving"
GUIDE = (ROOT / "docs/migrating-mallku.md").read_text()

USE = """
import asyncio, json
from mallku_client.mallku import SecurityViolationError
from after.anchors import AnchorStore
from after.models import Balance
from after.reciprocity import Balances

async def use():
    anchors, balances = AnchorStore(), Balances()
    await anchors.remember({"_key": "a", "text": "The mountain", "timestamp": "2026-01-01"})
    made = await balances.keep(Balance(id="b", participant="ana", amount=1))
    found = await anchors.search("mountain")
    word = await anchors.search('"')
    try:
        stored = anchors.db._database.collection("reciprocity_balances_secured").get("b")
    except SecurityViolationError as refused:
        stored = str(refused)[:28]
    print(json.dumps({
        "count": int(await anchors.how_many()),
        "found": [row["_key"] for row in found],
        "with a quotation mark": word,
        "kept": made["_key"],
        "past the security": stored,
    }))

asyncio.run(use())
"""


def _found(state: str) -> list[Finding]:
    return [found for findings in check_paths([MOVING / state]) for found in findings]


def test_the_first_state_is_found_as_the_guide_shows_it() -> None:
    """Every rule about code and settings has its place there, but those for what is rare."""
    found = _found("before")
    rare = {"MG001", "MG002", "MG104", "MG110", "MG111"}
    assert {each.code for each in found} == set(RULES) - rare
    for line in GUIDE.splitlines():
        if line.startswith("before/"):
            place, code, *_ = line.split()
            path, row, column, _ = place.split(":")
            assert any(
                each.path.endswith(path)
                and (each.line, each.column, each.code) == (int(row), int(column), code)
                for each in found
            ), line


def test_nothing_is_found_in_the_second() -> None:
    """Neither what breaks nor what should change."""
    assert _found("after") == []


def test_the_second_works(tmp_path: Path) -> None:
    """In a process of its own, on a gateway that it starts with its first call."""
    done = subprocess.run(
        [sys.executable, "-c", USE],
        cwd=MOVING,
        env=clean_environment() | {"MALLKU_DEV_MODE": "true", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=READY_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "count": 1,
        "found": ["a"],
        "with a quotation mark": [],
        "kept": "b",
        "past the security": "Direct access to get is not ",
    }


def test_the_package_is_replaced_by_one_import() -> None:
    """As the guide says it, every name of Mallku's package is there."""
    line = "from mallku_client.mallku import *  # noqa: F403"
    assert line in GUIDE
    names: dict[str, object] = {}
    exec(line, names)  # noqa: S102 - the guide's own line
    assert names.keys() >= {
        "get_database",
        "SecuredDatabaseInterface",
        "SecuredArangoDatabase",
        "SecuredCollectionWrapper",
        "CollectionSecurityPolicy",
        "SecurityViolationError",
    }


def test_settings_of_the_second_are_settings_of_ours() -> None:
    """The compose file says what a client reads, under the names that it has."""
    from mallku_client.settings import ClientSettings, variable_of

    compose = yaml.safe_load((MOVING / "after/compose.yaml").read_text())
    environment = compose["services"]["fire-circle"]["environment"]
    ours = {variable_of(name) for name in ClientSettings.__dataclass_fields__}
    assert environment.keys() <= ours
