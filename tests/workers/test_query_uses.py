"""What the store says that a query uses is asked once, for as long as it holds."""

from __future__ import annotations

import pytest

from mallku_contracts.arguments import Aql
from mallku_workers.queries import uses
from mallku_workers.queries.book import QueryBook
from mallku_workers.queries.uses import KEPT_S, QueryUses
from mallku_workers.stores.base import QueryCollections, RunnableQuery

COPY = "FOR d IN @@from INSERT d INTO @@to"


class StoreAccount:
    """A store that says what a query names, and how often it was asked; a clock beside it."""

    def __init__(self) -> None:
        self.book = QueryBook()
        self.asked: list[str] = []
        self.now = 0.0
        self.uses = QueryUses(self.say, clock=lambda: self.now)

    async def say(self, database: str, query: RunnableQuery) -> QueryCollections:
        """The answer of the store."""
        self.asked.append(database)
        analysis = self.book.look_up(query.arguments.query).analysis
        return QueryCollections(analysis.read_names(query.binds), analysis.write_names(query.binds))

    async def of(
        self,
        text: str,
        binds: dict[str, str] | None = None,
        *,
        version: int = 1,
        database: str = "mallku",
    ) -> QueryCollections:
        """What a query uses; `binds` name collections."""
        known = self.book.look_up(text)
        query = RunnableQuery(known.tree, binds or {}, Aql(query=text), modifies=False, max_rows=1)
        return await self.uses.of(database, known, query, version)


@pytest.fixture
def store() -> StoreAccount:
    """A store that was asked nothing yet."""
    return StoreAccount()


async def test_a_query_that_comes_again_is_not_asked_about_again(store: StoreAccount) -> None:
    """As long as text, collections, database and policy are the same, whatever the values."""
    for _ in range(3):
        assert (await store.of("FOR n IN notes RETURN n")).reads == {"notes"}
    assert len(store.asked) == 1
    await store.of("FOR n IN notes RETURN n", version=2)
    await store.of("FOR n IN notes RETURN n", database="other")
    await store.of("FOR n IN notes RETURN 1")
    assert len(store.asked) == 4


async def test_collections_of_bind_values_are_told_apart(store: StoreAccount) -> None:
    """Also where the same two are read and changed the other way round."""
    binds = {"@from": "a", "@to": "b"}
    there = await store.of(COPY, binds)
    back = await store.of(COPY, {"@from": "b", "@to": "a"})
    assert (set(there.reads), set(there.writes)) == ({"a"}, {"b"})
    assert (set(back.reads), set(back.writes)) == ({"b"}, {"a"})
    assert (await store.of(COPY, binds)) == there
    assert len(store.asked) == 2


async def test_an_answer_is_believed_for_a_while(store: StoreAccount) -> None:
    """And then asked for anew: views are changed past the gateway."""
    await store.of("FOR n IN notes RETURN n")
    store.now = KEPT_S - 0.01
    await store.of("FOR n IN notes RETURN n")
    assert len(store.asked) == 1
    store.now = KEPT_S
    await store.of("FOR n IN notes RETURN n")
    assert len(store.asked) == 2


async def test_a_graph_is_asked_about_every_time(store: StoreAccount) -> None:
    """Its members can change without its name."""
    for _ in range(2):
        await store.of("FOR v IN 1..1 ANY 'notes/a' GRAPH 'g' RETURN v")
    assert len(store.asked) == 2


async def test_only_so_many_answers_are_kept(
    store: StoreAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was not asked for longest goes first."""
    monkeypatch.setattr(uses, "MAX_KEPT", 2)
    for text in ("RETURN 1", "RETURN 2", "RETURN 1", "RETURN 3", "RETURN 1"):
        await store.of(text)
    assert len(store.asked) == 3
    await store.of("RETURN 2")
    assert len(store.asked) == 4
