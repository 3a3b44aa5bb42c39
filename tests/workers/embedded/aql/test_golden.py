"""Queries answered by a real server, and by us."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.workers.embedded.aql.golden import ROWS, World, differences

OTHERWISE: Final[dict[str, str]] = {}
"""Rows that we answer otherwise on purpose, with the reason; `docs/embedded-aql.md` lists them."""

NEWER: Final = "version-sensitive"
"""Tags what later servers answer otherwise; we follow those."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The dataset."""
    world = World(tmp_path_factory.mktemp("golden") / "golden.sqlite")
    yield world
    world.close()


def _rows(*, newer: bool) -> list[Any]:
    return [
        pytest.param(row, id=row["id"])
        for row in ROWS
        if (NEWER in row["tags"]) is newer and row["id"] not in OTHERWISE
    ]


@pytest.mark.parametrize("row", _rows(newer=False))
def test_the_answer_is_the_real_servers(world: World, row: dict[str, Any]) -> None:
    """Values, order, warnings, error numbers and changed documents are those of a real server."""
    answer = world.run(row["query"], row["bind_vars"], row.get("options", {}))
    assert differences(row, answer) == []


@pytest.mark.parametrize("row", _rows(newer=True))
def test_what_changed_since_is_answered_or_refused_by_number(
    world: World, row: dict[str, Any]
) -> None:
    """A query that later servers answer otherwise gets rows, or an error with a number."""
    answer = world.run(row["query"], row["bind_vars"], row.get("options", {}))
    assert answer.rows is not None or answer.error is not None


def test_the_exceptions_are_exceptions(world: World) -> None:
    """No row is excused that we answer as the real server did, and few are."""
    excused = [row for row in ROWS if row["id"] in OTHERWISE]
    for row in excused:
        answer = world.run(row["query"], row["bind_vars"], row.get("options", {}))
        assert differences(row, answer) != [], row["id"]
    assert len(excused) == len(OTHERWISE) < len(ROWS) * 0.03
