"""Names of python-arango on the plain objects: they work, or say by name what to write instead."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from mallku_client.mallku import (
    CollectionSecurityPolicy,
    SecuredCollectionWrapper,
    SecuredDatabaseInterface,
    SecurityViolationError,
)
from mallku_client.mallku.absent import OF_COLLECTIONS, OF_DATABASES, OF_QUERIES
from mallku_contracts.errors import (
    CollectionNotFound,
    InvalidKey,
    NotSupported,
    PermissionDenied,
    QueryFailed,
)
from tests.client.mallku.mallku_like import fresh

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_keys_and_ids_of_every_document(
    db: SecuredDatabaseInterface, adb: SecuredDatabaseInterface
) -> None:
    """With either face, in pages; none where there is no collection yet."""
    notes = db.collection(fresh("keys"))
    assert list(notes.keys()) == []
    wanted = [f"{number:04}" for number in range(1_100)]
    for part in range(0, len(wanted), 500):
        notes.insert_many([{"_key": key} for key in wanted[part : part + 500]])
    assert sorted(notes.keys()) == wanted
    assert sorted(notes.ids()) == [f"{notes.name}/{key}" for key in wanted]
    found = [key async for key in adb.collection(notes.name).keys(allow_dirty_read=True)]
    assert sorted(found) == wanted
    with pytest.raises(CollectionNotFound):
        db._database.collection(fresh("never")).keys()


async def test_documents_by_their_ids(db: SecuredDatabaseInterface) -> None:
    """Through the plain database, wherever the id says; without one nothing is sent."""
    name = fresh("by_id")
    plain = db._database
    plain.create_collection(name)
    made = plain.insert_document(name, {"_key": "a", "n": 1})
    assert plain.document(made["_id"])["n"] == plain.document(made)["n"] == 1
    assert plain.has_document(f"{name}/a")
    assert plain.document(f"{name}/b") is None
    plain.update_document({"_id": made["_id"], "m": 2})
    assert (plain.document(made["_id"])["n"], plain.document(made["_id"])["m"]) == (1, 2)
    plain.replace_document({"_id": made["_id"], "k": 3})
    assert set(plain.document(made["_id"])) == {"_id", "_key", "_rev", "k"}
    plain.delete_document(made["_id"])
    assert not plain.has_document(made["_id"])
    with pytest.raises(InvalidKey, match="_id"):
        plain.document("a")
    with pytest.raises(InvalidKey, match="_id"):
        plain.update_document({"_key": "a"})


async def test_graphs_of_the_plain_database(db: SecuredDatabaseInterface) -> None:
    """They are listed; who may not make them is told so by the gateway."""
    assert list(db._database.graphs()) == []
    assert db._database.has_graph("friends") == False  # noqa: E712 - what callers compare
    with pytest.raises(PermissionDenied):
        db._database.create_graph("friends")
    with pytest.raises(PermissionDenied):
        db._database.delete_graph("friends")


@pytest.mark.parametrize("name", OF_COLLECTIONS)
async def test_what_a_collection_has_not_is_refused_by_name(
    db: SecuredDatabaseInterface, adb: SecuredDatabaseInterface, name: str
) -> None:
    """On the wrapper and beneath it, by the face that it has."""
    notes = db.collection(fresh("absent"))
    for collection in (notes, notes._collection):
        with pytest.raises(NotSupported, match=f"^{name}: "):
            getattr(collection, name)(["x"], expiry_time=1)
    with pytest.raises(NotSupported, match=f"^{name}: "):
        await getattr(adb.collection(notes.name), name)()
    assert notes.name not in db.collections()


@pytest.mark.parametrize("name", [*OF_DATABASES, *OF_QUERIES])
async def test_what_a_database_has_not_is_refused_by_name(
    db: SecuredDatabaseInterface, name: str
) -> None:
    """And what nobody ever called is no attribute, as with any other object."""
    there = db._database if name in OF_DATABASES else db._database.aql
    with pytest.raises(NotSupported, match=f"^{name}: "):
        getattr(there, name)()
    for each in (there, db.collection("scratch")._collection):
        assert not hasattr(each, f"{name}_of_nobody")


async def test_no_index_removes_documents(
    db: SecuredDatabaseInterface, adb: SecuredDatabaseInterface
) -> None:
    """However it is asked for, and nothing is made; what to do instead is said."""
    notes = db.collection(fresh("expiring"))
    with pytest.raises(NotSupported, match="remove those that are old by a query"):
        notes.add_ttl_index(fields=["at"], expiry_time=3_600)
    wanted = {"type": "ttl", "fields": ["at"], "expireAfter": 3_600}
    with pytest.raises(NotSupported, match="an index of type ttl"):
        notes._collection.add_index(wanted)
    with pytest.raises(NotSupported):
        await adb.collection(notes.name).add_index(wanted)
    assert not db.has_collection(notes.name)


async def test_the_guide_removes_what_is_old(db: SecuredDatabaseInterface) -> None:
    """The function of docs/stores.md, as it stands there; it says how many have gone."""
    _, _, section = (ROOT / "docs/stores.md").read_text().partition("## Expiry")
    names: dict[str, Any] = {"EXPIRED": re.findall(r"```aql\n(.*?)```", section, re.DOTALL)[0]}
    exec(re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0], names)  # noqa: S102 - ours
    decisions = db.collection(fresh("decisions"))
    decisions.add_persistent_index(fields=["until"])
    moment = datetime.now(UTC)
    days = [moment + timedelta(days=number) for number in (-2, -1, 1)]
    decisions.insert_many([{"_key": str(n), "until": day} for n, day in enumerate(days)])
    decisions.insert({"_key": "forever"})
    assert names["remove_expired"](db, decisions.name) == 2
    assert sorted(decisions.keys()) == ["2", "forever"]
    assert names["remove_expired"](db, decisions.name) == 0


async def test_a_query_says_what_it_did(
    db: SecuredDatabaseInterface, adb: SecuredDatabaseInterface
) -> None:
    """By python-arango's names and by ours, with either face; of a `find` nothing is told."""
    notes = db.collection(fresh("told"))
    notes.insert_many([{"_key": key} for key in "abc"])
    text = f"FOR d IN {notes.name} FILTER d._key != 'c' REMOVE d IN {notes.name}"
    done = db.aql.execute(text, read_only=False).statistics()
    assert (done["modified"], done["writes_executed"], done["ignored"]) == (2, 2, 0)
    rows = await adb.aql.execute(f"FOR d IN {notes.name} RETURN d")
    assert (rows.statistics()["modified"], len(rows)) == (0, 1)
    assert notes.all().statistics() == {}


async def test_options_of_a_query_hold_or_are_refused(
    db: SecuredDatabaseInterface, adb: SecuredDatabaseInterface
) -> None:
    """What means something is sent, what is the worker's to decide is taken, the rest is none."""
    notes = db.collection(fresh("options"))
    text = f"INSERT {{n: 1}} INTO {notes.name} RETURN NEW._key"
    notes.insert({"_key": "first"})
    key, answers = f"mine-{notes.name}", list[Any]()
    asked = {"read_only": False, "idempotency_key": key, "on_answer": answers.append}
    assert list(db.aql.execute(text, **asked)) == list(db.aql.execute(text, **asked))
    assert [answer.replayed for answer in answers] == [False, True]
    assert notes.count() == 2
    with pytest.raises(QueryFailed):
        db.aql.execute("RETURN 1 / 0", fail_on_warning=True)
    everything = f"FOR d IN {notes.name} LIMIT 1 RETURN d"
    rows = db.aql.execute(everything, full_count=True, ttl=60, stream=True, cache=None, max_plans=1)
    assert (len(rows), rows.statistics()["fullCount"]) == (1, 2)
    for face in (db, adb, db._database):
        for misspelt in ({"bindvars": {"n": 1}}, {"idempotencykey": "x"}):
            with pytest.raises(TypeError, match="unexpected keyword argument"):
                face.aql.execute("RETURN 1", **misspelt)


async def test_keys_of_a_secured_collection_are_direct_operations() -> None:
    """They are refused as soon as they are looked at, whatever is beneath."""
    policy = CollectionSecurityPolicy("a_secured", [])
    secured = SecuredCollectionWrapper(MagicMock(), policy)
    for name in ("keys", "ids", "random"):
        with pytest.raises(SecurityViolationError, match=name):
            getattr(secured, name)
