"""Queries of callers reach ArangoDB as the user of their access class."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mallku_contracts.errors import ConfigurationError
from mallku_workers.stores.arango import ArangoSettings, ArangoStore
from tests.stores.asking import Asker, make_query
from tests.stores.calling import DATABASE, Caller
from tests.support.simulated_arango import SimulatedArango

USERS = {"root": "", "reads": "r", "writes": "w"}


@pytest.fixture
def settings(server: SimulatedArango, tmp_path: Path) -> ArangoSettings:
    """A user for each access class, with its password file."""
    server.users = dict(USERS)
    files = {}
    for name in ("reads", "writes"):
        files[name] = tmp_path / name
        files[name].write_text(USERS[name])
        files[name].chmod(0o600)
    return ArangoSettings(
        url=server.url,
        auth="basic",
        read_username="reads",
        read_password_file=files["reads"],
        write_username="writes",
        write_password_file=files["writes"],
    )


@pytest.fixture
async def store(settings: ArangoSettings) -> AsyncIterator[ArangoStore]:
    """A store that knows them."""
    running = ArangoStore(settings)
    await running.start()
    yield running
    await running.stop()


def askers(server: SimulatedArango) -> set[str]:
    """Who asked since the list was cleared."""
    words = (asked.headers["authorization"].partition(" ")[2] for asked in server.asked)
    return {base64.b64decode(word).decode().partition(":")[0] for word in words}


async def test_a_query_that_reads_is_run_by_the_user_who_may_only_read(
    people: Caller, server: SimulatedArango
) -> None:
    """Its explanation, its first page, the next ones, and the end of its rows."""
    await people("insert-many", documents=[{} for _ in range(5)])
    server.asked.clear()
    work = make_query("FOR p IN people RETURN p", batch_size=2)
    assert work.query is not None
    await people.store.collections_of(DATABASE, work.query)
    done = await people.store.execute(work)
    assert done.cursor is not None
    await done.cursor.fetch(work.deadline_ms)
    await done.cursor.close()
    assert askers(server) == {"reads"}


async def test_a_query_that_changes_is_run_by_the_user_who_may_write_documents(
    people: Caller, server: SimulatedArango
) -> None:
    """With its ledger entry, in the same transaction."""
    server.asked.clear()
    work = make_query("FOR n IN 1..2 INSERT {n} INTO people")
    assert work.query is not None
    await people.store.collections_of(DATABASE, work.query)
    await Asker(people.store)("FOR n IN 1..2 INSERT {n} INTO people")
    assert askers(server) == {"writes"}
    server.asked.clear()
    await people("count")
    assert askers(server) == {"root"}


async def test_a_user_who_is_not_let_in_is_told_at_the_start(
    settings: ArangoSettings, server: SimulatedArango
) -> None:
    """Not at the first query."""
    server.users["reads"] = "another"
    with pytest.raises(ConfigurationError, match="a user for queries may not use"):
        await ArangoStore(settings).start()
