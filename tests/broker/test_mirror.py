from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mallku_broker.accounts import (
    AUDITED_STREAMS,
    KEEPER_PREFIX,
    Account,
    User,
    accounts_text,
)
from mallku_broker.configuration import (
    ServerConfiguration,
)
from mallku_broker.connection import ConnectionSettings, GatewayConnection, connect
from mallku_broker.events import EventKind
from mallku_broker.files import write_private_text
from mallku_broker.jetstream import ask
from mallku_broker.mirror import keeper, mirror_definitions, mirror_of
from mallku_broker.nkeys import new_nkey
from mallku_broker.nsc import nsc_commands
from mallku_broker.permissions import WORKER_INBOX_PREFIX, principal_permissions, worker_records
from mallku_broker.server import EmbeddedServer
from mallku_broker.streams import AUDIT, StreamDefinition, definitions, ensure
from mallku_contracts.policy import read_policy
from mallku_contracts.subjects import inbox_prefix
from tests.support.nats import POLICY, SMALL, Witness

RECORD = "mallku.v1.audit.a.b.c.get.done"


@dataclass
class Kept:
    """A server with a keeper, a worker and an administrator, and how to connect to it."""

    server: EmbeddedServer
    folder: Path
    stack: AsyncExitStack

    async def connection(self, who: str, witness: Witness | None = None) -> GatewayConnection:
        """Connect as one of them."""
        settings = ConnectionSettings(url=self.server.url, credentials=self.folder / f"{who}.nk")
        prefix = f"{WORKER_INBOX_PREFIX}.t" if who == "worker" else inbox_prefix(who)
        connection = await connect(settings, name=who, inbox_prefix=prefix, on_event=witness)
        self.stack.push_async_callback(connection.close)
        return connection


def _users(folder: Path) -> tuple[User, ...]:
    administrator = principal_permissions(read_policy(POLICY), "administrator")[0]
    wanted = (
        ("keeper", Account.KEEPERS, keeper("keeper")),
        ("worker", Account.RECORDS, worker_records()),
        ("administrator", Account.RECORDS, administrator),
    )
    users: list[User] = []
    for name, account, permissions in wanted:
        seed, public = new_nkey()
        write_private_text(folder / f"{name}.nk", seed)
        users.append(User(name, public, account, permissions))
    return tuple(users)


@asynccontextmanager
async def _kept(folder: Path) -> AsyncGenerator[Kept]:
    configuration = ServerConfiguration(folder / "streams", _users(folder), port=0)
    async with EmbeddedServer(configuration, folder) as server, AsyncExitStack() as stack:
        kept = Kept(server, folder, stack)
        administrator = await kept.connection("administrator")
        assert await ensure(administrator, definitions(SMALL)) == []
        yield kept


async def _publish(worker: GatewayConnection, count: int) -> None:
    for number in range(count):
        answer = await worker.request(RECORD, f"{number}".encode(), timeout=5)
        assert b"error" not in answer.data


async def _mirrored(keeper: GatewayConnection, last: int) -> dict[str, Any]:
    """The mirror's state, once it has everything."""
    async with asyncio.timeout(15):
        while True:
            found = await ask(keeper, f"STREAM.INFO.{mirror_of(AUDIT)}", {})
            if found["state"]["last_seq"] >= last:
                return dict(found["state"])
            await asyncio.sleep(0.05)


async def test_a_mirror_keeps_the_trail_in_another_account(tmp_path: Path) -> None:
    """What stood there before and what comes after, under the same sequences, byte by byte."""
    async with _kept(tmp_path) as kept:
        worker, own = await kept.connection("worker"), await kept.connection("keeper")
        await _publish(worker, 20)
        assert await ensure(own, mirror_definitions(SMALL)) == []
        assert (await _mirrored(own, 20))["messages"] == 20
        await _publish(worker, 5)
        await _mirrored(own, 25)
        for sequence in (1, 20, 25):
            call = {"seq": sequence}
            there = await ask(own, f"STREAM.MSG.GET.{mirror_of(AUDIT)}", call)
            here = await ask(worker, f"STREAM.MSG.GET.{AUDIT}", call)
            assert there["message"] == here["message"]


async def test_a_keeper_reaches_the_trail_through_its_mirror_alone(tmp_path: Path) -> None:
    """Neither the trail's API, nor the mirror's end, nor records are a keeper's to call."""
    async with _kept(tmp_path) as kept:
        witness = Witness()
        own = await kept.connection("keeper", witness)
        await ensure(own, mirror_definitions(SMALL))
        mirror = mirror_of(AUDIT)
        forbidden = (
            f"{KEEPER_PREFIX}.CONSUMER.CREATE.{AUDIT}",
            f"$JS.API.STREAM.DELETE.{mirror}",
            f"$JS.API.STREAM.PURGE.{mirror}",
            f"$JS.API.STREAM.UPDATE.{mirror}",
            f"$JS.API.STREAM.INFO.{AUDIT}",
            f"$JS.FC.{AUDIT}.x",
            RECORD,
        )
        for times, subject in enumerate(forbidden, 1):
            own.post(subject, b"{}")
            refused = await witness.sees(EventKind.REFUSED, times=times)
            assert subject.lower() in refused.detail.lower()


async def test_administrators_of_the_trail_do_not_reach_the_mirror(tmp_path: Path) -> None:
    """It is in another account: there is nothing of that name in theirs, even for an update."""
    async with _kept(tmp_path) as kept:
        own, administrator = (
            await kept.connection("keeper"),
            await kept.connection("administrator"),
        )
        await ensure(own, mirror_definitions(SMALL))
        names = await administrator.request("$JS.API.STREAM.NAMES", b"{}", timeout=5)
        assert AUDIT in json.loads(names.data)["streams"]
        assert mirror_of(AUDIT) not in json.loads(names.data)["streams"]


def test_without_a_keeper_there_is_no_such_account() -> None:
    """Nothing is exported to an account that nobody is in; with one, both sides are written."""
    user = User("keeper", new_nkey()[1], Account.KEEPERS, keeper("keeper"))
    for write in (accounts_text, nsc_commands):
        assert "KEEPERS" not in write(())
        assert "mallku.mirror" not in write(())
        text = write((user,))
        for stream in AUDITED_STREAMS:
            assert text.count(f"mallku.mirror.{stream}.>") >= 2
            assert f"{KEEPER_PREFIX}.CONSUMER.CREATE.{stream}" in text


@pytest.mark.parametrize("tags", [(), ("vault", "ssd")])
@pytest.mark.parametrize("cluster", ["", "east"])
async def test_where_streams_are_kept_is_code(
    tmp_path: Path, cluster: str, tags: tuple[str, ...]
) -> None:
    """Placement goes into every stream; one that is kept elsewhere is drift, not changed silently.

    One server does not place anything: what is seen here is that it is told, and keeps being told.
    """
    settings = replace(SMALL, placement_cluster=cluster, placement_tags=tags)
    async with _kept(tmp_path) as kept:
        administrator = await kept.connection("administrator")
        drifts = await ensure(administrator, definitions(settings))
        placed = bool(cluster or tags)
        assert {drift.field for drift in drifts} == ({"placement"} if placed else set())
        assert not any(drift.safe for drift in drifts)
        assert _placements(definitions(settings)) == ([settings.placement] if placed else [None])


def _placements(wanted: tuple[StreamDefinition, ...]) -> list[Any]:
    found: list[Any] = []
    for each in wanted:
        placement = each.configuration.get("placement")
        if placement not in found:
            found.append(placement)
    return found


@pytest.mark.parametrize("tags", [("vault",)])
async def test_a_mirror_is_placed_apart(tmp_path: Path, tags: tuple[str, ...]) -> None:
    """The mirror's settings say where, whatever the trail's say; the server takes them."""
    settings = replace(SMALL, placement_tags=tags)
    async with _kept(tmp_path) as kept:
        own = await kept.connection("keeper")
        assert await ensure(own, mirror_definitions(settings)) == []
        found = await ask(own, f"STREAM.INFO.{mirror_of(AUDIT)}", {})
        assert found["config"]["placement"] == {"tags": list(tags)}
        assert found["config"]["deny_delete"]
        assert found["config"]["deny_purge"]
