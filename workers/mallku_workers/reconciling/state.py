"""Whether what an administrative operation asked for is there: it is repeatable, so that counts.

ArangoDB changes its catalog outside of any transaction. A change whose entry was begun and not
finished may have been made; what there is now is all that can be looked at.
"""

from __future__ import annotations

from typing import Any

from mallku_contracts import arguments as a
from mallku_contracts.operations import OPERATIONS
from mallku_workers.reconciling.question import Question
from mallku_workers.stores.base import Store, Work


async def is_as_asked(  # noqa: PLR0911 - one answer for each operation
    store: Store, question: Question, deadline_ms: int
) -> bool:
    """Whether the state that the operation asks for holds now.

    Raises:
        MallkuError: the store does not say.
    """

    async def ask(operation: str, arguments: a.Arguments | None = None) -> Any:
        subject = question.subject
        work = Work(
            OPERATIONS[operation],
            subject.database,
            subject.collection,
            arguments or a.NoArguments(),
            deadline_ms,
        )
        return (await store.execute(work)).result

    name, asked = question.subject.collection, question.arguments
    match asked:
        case a.CreateCollection():
            kind = "edge" if asked.edge else "document"
            return {"name": name, "type": kind} in await ask("list-collections")
        case a.DropCollection():
            return all(each["name"] != name for each in await ask("list-collections"))
        case a.CreateIndex():
            return any(_is_index(each, asked) for each in await ask("list-indexes"))
        case a.DropIndex():
            names = (asked.index, f"{name}/{asked.index}")
            indexes = await ask("list-indexes")
            return all(each["id"] not in names and each["name"] not in names for each in indexes)
        case a.CreateGraph():
            return any(_is_graph(each, asked) for each in await ask("list-graphs"))
        case a.DropGraph():
            return all(each["name"] != asked.name for each in await ask("list-graphs"))
        case _ if question.operation.name == "truncate":
            return bool(await ask("count", a.Count()) == 0)
        case _:
            return False


def _is_index(found: dict[str, Any], asked: a.CreateIndex) -> bool:
    shape = (found["fields"], found["unique"], found["sparse"])
    named = asked.name in (None, found["name"])
    return named and shape == (asked.fields, asked.unique, asked.sparse)


def _is_graph(found: dict[str, Any], asked: a.CreateGraph) -> bool:
    wanted = {
        (
            each.edge_collection,
            frozenset(each.from_vertex_collections),
            frozenset(each.to_vertex_collections),
        )
        for each in asked.edge_definitions
    }
    there = {
        (
            each["edge_collection"],
            frozenset(each["from_vertex_collections"]),
            frozenset(each["to_vertex_collections"]),
        )
        for each in found["edge_definitions"]
    }
    return found["name"] == asked.name and there == wanted
