from __future__ import annotations

import math

import pytest

from mallku_client import Answer, SecuredDatabaseInterface
from mallku_contracts.errors import (
    ClientClosed,
    InvalidArguments,
    InvalidSubject,
    MallkuError,
    NotSupported,
    UniqueViolation,
)
from tests.client.world import World


async def test_insert_and_get(db: SecuredDatabaseInterface) -> None:
    """A document that was inserted is what `get` returns; a missing one is None."""
    anchors = db.collection("memory_anchors")
    meta = await anchors.insert({"kind": "khipu", "weight": 3})
    assert isinstance(meta, dict)
    assert await anchors.get(meta["_key"]) == {"kind": "khipu", "weight": 3, **meta}
    assert await anchors.get("nobody") is None
    assert await anchors.has(meta["_key"]) is True


async def test_only_what_was_given_is_sent(world: World, db: SecuredDatabaseInterface) -> None:
    """Defaults are the gateway's: what the caller leaves out is not in the body."""
    anchors = db.collection("memory_anchors")
    await anchors.insert({"a": 1}, silent=False, keep_none=False)
    assert world.gateway.seen[-1].body == {"document": {"a": 1}, "keep_none": False}


async def test_the_whole_answer_is_at_hand(world: World, db: SecuredDatabaseInterface) -> None:
    """`on_answer` and `command` give receipt, id and idempotency key; results stay plain."""
    answers: list[Answer] = []
    meta = await db.collection("anchors").insert({}, on_answer=answers.append)
    assert type(meta) is dict
    assert answers[0].result == meta
    assert answers[0].receipt == {"stream": "MALLKU_AUDIT", "sequence": 1, "hash": b"h" * 32}
    assert answers[0].id == answers[0].idempotency_key == world.gateway.seen[0].header.id

    answer = await db.command("insert", "anchors", {"document": {}}, idempotency_key="mine")
    assert answer.idempotency_key == "mine"
    assert world.gateway.seen[1].header.idem == "mine"


async def test_a_batch_holds_errors_as_exceptions(db: SecuredDatabaseInterface) -> None:
    """One document's error stands in its place and is not raised, unless asked for."""
    anchors = db.collection("anchors")
    first, second = await anchors.insert_many([{"_key": "a"}, {"_key": "a"}])
    assert isinstance(first, dict)
    assert isinstance(second, UniqueViolation)
    with pytest.raises(UniqueViolation):
        await anchors.insert_many([{"_key": "a"}], raise_on_document_error=True)


async def test_a_refusal_is_raised_as_its_class(db: SecuredDatabaseInterface) -> None:
    """What the gateway refuses arrives with class, code, ArangoDB's number and message."""
    anchors = db.collection("anchors")
    await anchors.insert({"_key": "a"})
    with pytest.raises(UniqueViolation, match="the key is taken") as caught:
        await anchors.insert({"_key": "a"})
    assert (caught.value.number, caught.value.error_code) == (412, 1210)


async def test_aql_is_sent(world: World, db: SecuredDatabaseInterface) -> None:
    """A query is a command about the database; a gateway without queries says so by name."""
    with pytest.raises(NotSupported, match="aql"):
        await db.aql.execute("FOR a IN b RETURN a", bind_vars={"x": 1})
    assert world.gateway.seen[-1].subject.collection == "@"
    assert world.gateway.seen[-1].body == {
        "query": "FOR a IN b RETURN a",
        "bind_vars": {"x": 1},
    }


@pytest.mark.parametrize("name", ["", "a.b", "a b", "*", ">", "ä", "x" * 65])
def test_a_name_that_is_none_is_refused_at_once(
    world: World, db: SecuredDatabaseInterface, name: str
) -> None:
    """A bad collection name is refused where it is written, and nothing is sent."""
    with pytest.raises(InvalidSubject, match="collection"):
        db.collection(name)
    assert world.gateway.seen == []


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"weight": math.nan}, "document.weight"),
        ({"list": [{"when": object()}]}, r"document.list\[0\].when"),
        ({"n": 2**70}, "document.n"),
        ({1: 2}, "document"),
    ],
)
async def test_what_cannot_be_sent_is_named(
    world: World, db: SecuredDatabaseInterface, document: dict[str, object], path: str
) -> None:
    """A value that is not plain is refused with its path before anything is sent."""
    with pytest.raises(InvalidArguments, match=path) as caught:
        await db.collection("anchors").insert(document)
    assert caught.value.details["fields"]
    assert world.gateway.seen == []


@pytest.mark.parametrize("seconds", [0, -1, 1e9, math.nan])
async def test_a_timeout_has_bounds(db: SecuredDatabaseInterface, seconds: float) -> None:
    """A timeout that is no time is refused, in words that hold the bounds."""
    with pytest.raises(InvalidArguments, match="timeout: expected more than 0"):
        await db.collection("anchors").get("a", timeout=seconds)


@pytest.mark.parametrize("key", ["", "x" * 129])
async def test_an_idempotency_key_has_bounds(db: SecuredDatabaseInterface, key: str) -> None:
    """An idempotency key that no worker would take is refused here."""
    with pytest.raises(InvalidArguments, match="idempotency_key: expected 1 to 128"):
        await db.collection("anchors").insert({}, idempotency_key=key)


async def test_an_unknown_keyword_is_a_type_error(db: SecuredDatabaseInterface) -> None:
    """A misspelt argument is refused as Python does it, before anything is sent."""
    call = getattr(db.collection("anchors"), "insert")  # noqa: B009  # types would refuse it
    with pytest.raises(TypeError, match="time_out"):
        await call({}, time_out=3)


@pytest.mark.parametrize(
    ("operation", "collection", "words"),
    [
        ("fly", "a", "no operation"),
        ("insert", None, "about a collection"),
        ("aql", "a", "about the database"),
    ],
)
async def test_a_raw_command_fits_the_table(
    db: SecuredDatabaseInterface, operation: str, collection: str | None, words: str
) -> None:
    """`command` takes the operations of the table, each with or without a collection."""
    with pytest.raises(InvalidArguments, match=words):
        await db.command(operation, collection, {})


async def test_a_closed_client_says_so(world: World) -> None:
    """After `close` every call is refused as `ClientClosed`; closing twice is fine."""
    db = await world.connect()
    await db.close()
    await db.close()
    with pytest.raises(ClientClosed):
        await db.collection("anchors").get("a")
    assert issubclass(ClientClosed, MallkuError)
