"""Transactions and graphs as a client has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mallku_client import SecuredDatabaseInterface, TransactionCollection, TransactionJob, sync
from mallku_client.collection import Collection
from mallku_contracts.arguments import Transaction, read_arguments
from mallku_contracts.errors import InvalidSubject, MallkuError, UniqueViolation
from mallku_contracts.operations import OPERATIONS
from tests.client.world import MemoryGateway, Opened, World

STEPS = [
    {"operation": "insert", "collection": "a", "arguments": {"document": {"_key": "1"}}},
    {
        "operation": "update-match",
        "collection": "b",
        "arguments": {"filters": {"x": 1}, "body": {"x": 2}, "limit": 3},
    },
    {"operation": "delete-many", "collection": "a", "arguments": {"documents": ["2", "3"]}},
]


@pytest.fixture
def answered(world: World) -> list[Any]:
    """What the gateway answers to each command: the number of each step, or an error to raise."""
    answers: list[Any] = []

    async def answer(gateway: MemoryGateway, command: Opened) -> bytes | None:
        gateway.script.append(answer)
        result = answers.pop(0) if answers else list(range(len(command.body["steps"])))
        if isinstance(result, MallkuError):
            return gateway.reply(command, {"error": result.to_wire()})
        return gateway.reply(command, {"result": result, "receipt": {}})

    world.gateway.script = [answer]
    return answers


@pytest.fixture
def blocking(world: World) -> Iterator[sync.SecuredDatabaseInterface]:
    """A blocking client of the gateway in memory."""
    with sync.SecuredDatabaseInterface.connect(
        settings=world.settings, transport=world.transport
    ) as db:
        yield db


def collect(tx: Any) -> list[TransactionJob[Any]]:
    """Write the steps above down."""
    return [
        tx.collection("a").insert({"_key": "1"}),
        tx.collection("b").update_match({"x": 1}, {"x": 2}, 3),
        tx.collection("a").delete_many(["2", "3"]),
    ]


@pytest.mark.usefixtures("answered")
async def test_a_block_is_one_command(world: World, db: SecuredDatabaseInterface) -> None:
    """Nothing is sent before its end; then all of it at once, and every job has its result."""
    async with db.transaction(idempotency_key="mine") as tx:
        jobs = collect(tx)
        assert world.gateway.seen == []
        with pytest.raises(RuntimeError, match="not committed"):
            jobs[0].result()
    (command,) = world.gateway.seen
    assert str(command.subject) == "mallku.v1.cmd.mallku.mallku.@.transaction"
    assert (command.body, command.header.idem) == ({"steps": STEPS}, "mine")
    read_arguments(Transaction, command.body)
    assert [job.result() for job in jobs] == tx.results == [0, 1, 2]


@pytest.mark.usefixtures("answered")
async def test_a_block_that_raises_sends_nothing(
    world: World, db: SecuredDatabaseInterface
) -> None:
    """The error comes out, and there are no results."""
    tx = db.transaction()

    async def fail() -> None:
        async with tx:
            collect(tx)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert world.gateway.seen == []
    with pytest.raises(RuntimeError, match="not committed"):
        _ = tx.results


@pytest.mark.usefixtures("answered")
async def test_an_aborted_or_empty_block_sends_nothing(
    world: World, db: SecuredDatabaseInterface
) -> None:
    """Nothing to do is not a command."""
    async with db.transaction() as tx:
        collect(tx)
        tx.abort()
    async with db.transaction() as empty:
        pass
    assert (world.gateway.seen, empty.results) == ([], [])


@pytest.mark.usefixtures("answered")
async def test_a_transaction_ends_once(world: World, db: SecuredDatabaseInterface) -> None:
    """After `commit` nothing can be added, and it is not sent a second time."""
    async with db.transaction() as tx:
        collect(tx)
        assert await tx.commit() == [0, 1, 2]
        with pytest.raises(RuntimeError, match="ended"):
            tx.collection("a").delete("x")
        with pytest.raises(RuntimeError, match="ended"):
            await tx.commit()
    assert len(world.gateway.seen) == 1


async def test_the_step_that_failed_is_named(
    answered: list[Any], db: SecuredDatabaseInterface
) -> None:
    """In the error's details; no job has a result."""
    answered.append(UniqueViolation("taken", details={"step": 1}))
    jobs: list[TransactionJob[Any]] = []
    with pytest.raises(UniqueViolation) as refused:
        async with db.transaction() as tx:
            jobs += collect(tx)
    assert refused.value.details["step"] == 1
    with pytest.raises(RuntimeError, match="not committed"):
        jobs[0].result()


@pytest.mark.usefixtures("answered")
async def test_steps_may_be_given_as_they_are(world: World, db: SecuredDatabaseInterface) -> None:
    """`execute_transaction` takes what the wire takes."""
    assert await db.execute_transaction(STEPS) == [0, 1, 2]
    assert world.gateway.seen[0].body == {"steps": STEPS}


def test_every_write_can_be_a_step() -> None:
    """The writes of a collection, and no reads, are there with their own arguments."""
    writes = {
        operation.name.replace("-", "_")
        for operation in OPERATIONS.values()
        if operation.access == "write" and operation.scope == "collection"
    }
    methods = {name for name in vars(TransactionCollection) if not name.startswith("_")}
    assert methods - {"name"} == writes
    assert all(hasattr(Collection, name) for name in writes)


@pytest.mark.usefixtures("answered")
async def test_misuse_is_found_when_it_is_written(db: SecuredDatabaseInterface) -> None:
    """Options of a call belong to the whole; names and arguments are checked as ever."""
    tx = db.transaction()
    with pytest.raises(TypeError, match="timeout"):
        tx.collection("a").insert({}, timeout=1.0)
    with pytest.raises(TypeError):
        tx.collection("a").insert()  # type: ignore[call-arg]
    with pytest.raises(InvalidSubject):
        tx.collection("a.b")
    assert tx.steps == []
    assert "insert a" in repr(tx.collection("a").insert({}))
    assert (repr(tx), repr(tx.collection("a"))) == (
        "<Transaction of 1>",
        "<TransactionCollection a>",
    )


@pytest.mark.usefixtures("answered")
def test_blocking_transactions(world: World, blocking: sync.SecuredDatabaseInterface) -> None:
    """The same with `with`."""
    with blocking.transaction() as tx:
        jobs = collect(tx)
    assert world.gateway.seen[0].body == {"steps": STEPS}
    assert [job.result() for job in jobs] == [0, 1, 2]
    failing = blocking.transaction()
    with pytest.raises(KeyError), failing:
        raise KeyError
    with blocking.transaction():
        pass
    with pytest.raises(RuntimeError, match="ended"):
        failing.commit()
    assert blocking.execute_transaction(STEPS) == [0, 1, 2]
    assert len(world.gateway.seen) == 2


GRAPH = {
    "name": "g",
    "edge_definitions": [
        {
            "edge_collection": "knows",
            "from_vertex_collections": ["people"],
            "to_vertex_collections": ["people"],
        }
    ],
    "orphan_collections": [],
}


async def test_graphs(world: World, answered: list[Any], db: SecuredDatabaseInterface) -> None:
    """python-arango's names, each one command with what was given and nothing else."""
    answered += [GRAPH, [GRAPH], [GRAPH], [GRAPH], True, False]
    definitions: Any = GRAPH["edge_definitions"]
    assert await db.create_graph("g", definitions) == GRAPH
    assert await db.graphs() == [GRAPH]
    assert (await db.has_graph("g"), await db.has_graph("h")) == (True, False)
    assert (await db.delete_graph("g"), await db.delete_graph("g", True)) == (True, False)
    assert [(c.subject.operation, c.body) for c in world.gateway.seen] == [
        ("create-graph", {"name": "g", "edge_definitions": definitions}),
        *[("list-graphs", {})] * 3,
        ("drop-graph", {"name": "g"}),
        ("drop-graph", {"name": "g", "ignore_missing": True}),
    ]
