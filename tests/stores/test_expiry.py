"""Old documents go by a command: the query of docs/stores.md, on every store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mallku_contracts.errors import InvalidArguments
from mallku_workers.stores.base import Store
from tests.stores.asking import Asker
from tests.stores.calling import Caller

GUIDE = (Path(__file__).resolve().parents[2] / "docs/stores.md").read_text()
NOW = "2026-01-31T00:00:00Z"


@pytest.fixture
def query() -> str:
    """What the guide says to run."""
    _, _, section = GUIDE.partition("## Expiry")
    found = re.search(r"```aql\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def ask(store: Store) -> Asker:
    """Asks queries of the store."""
    return Asker(store)


async def test_no_index_of_a_store_removes_documents(people: Caller) -> None:
    """It is refused as what the argument is, and none is made."""
    with pytest.raises(InvalidArguments, match="type"):
        await people("create-index", type="ttl", fields=["until"], expireAfter=0)
    assert len(await people("list-indexes")) == 1


async def test_what_is_old_goes_a_bounded_number_at_a_time(
    people: Caller, ask: Asker, query: str
) -> None:
    """Until none is left; what has no time, and what is no text, stays."""
    await people("create-index", fields=["until"])
    old: list[dict[str, Any]] = [
        {"_key": f"old{n}", "until": f"2026-01-0{n + 1}T12:00:00Z"} for n in range(5)
    ]
    kept: list[dict[str, Any]] = [
        {"_key": "new", "until": "2026-02-01T00:00:00Z"},
        {"_key": "now", "until": NOW},
        {"_key": "never"},
        {"_key": "null", "until": None},
        {"_key": "number", "until": 0},
        {"_key": "list", "until": []},
    ]
    await people("insert-many", documents=[*old, *kept])
    binds = {"@collection": "people", "now": NOW, "most": 3}
    removed = []
    for _ in range(3):
        done = await ask.done(query, binds)
        removed.append(done.result["statistics"]["writes_executed"])
    assert removed == [3, 2, 0]
    left = (await people("find"))["documents"]
    assert {document["_key"] for document in left} == {document["_key"] for document in kept}


async def test_what_went_is_told_for_the_record(people: Caller, ask: Asker, query: str) -> None:
    """Each key and its last revision: what the trail and a rebuild need."""
    made = await people("insert", document={"_key": "a", "until": "2026-01-01"})
    done = await ask.done(query, {"@collection": "people", "now": NOW, "most": 10})
    (gone,) = done.effects
    assert (gone.key, gone.old_rev, gone.new_rev) == ("a", made["_rev"], None)
