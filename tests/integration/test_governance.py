"""Policy and revocations on their way to real workers and the real broker, and what stops them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mallku_broker.buckets import kept, put
from mallku_broker.connection import GatewayConnection
from mallku_broker.events import EventKind
from mallku_broker.files import write_private_text
from mallku_contracts.audit import Record
from mallku_contracts.errors import ConfigurationError, MallkuError, PermissionDenied, Revoked
from mallku_contracts.governed import CURRENT, Kind, open_document
from mallku_deploy.events import Governed, Restored
from mallku_deploy.furnish import furnish
from mallku_deploy.gateway import LocalGateway
from mallku_deploy.governing import (
    compare_policy,
    find_stretch,
    push_policy,
    revoke_names,
)
from mallku_deploy.house import House
from mallku_deploy.pushing import Outcome
from tests.integration.load import Load
from tests.integration.world import EVENT_S, LOOK_S, World, running_world, until
from tests.support.nats import Witness

pytestmark = pytest.mark.asyncio(loop_scope="session")

WITHIN_MS = 1_000
POLICY = """
version: 1
roles:
  service:
    rules:
      - {id: documents, collections: ["*"], operations: [read, write]}
      - {id: shapes, collections: ["*"], operations: [create-collection]}
  narrow:
    rules: [{id: look, collections: ["fc_*"], operations: [get]}]
principals:
  mallku: {roles: [service]}
  mallory: {roles: [narrow]}
  inspector: {kind: inspector}
  auditor: {kind: auditor}
  administrator: {kind: administrator}
"""
GENEROUS = POLICY.replace("roles: [narrow]", "roles: [service]")


@pytest_asyncio.fixture(loop_scope="session")
async def own(tmp_path: Path) -> AsyncIterator[World]:
    """A gateway with two workers of one's own under the policy above."""
    async with running_world(tmp_path / "house", policy=POLICY) as world:
        async with world.client() as client:
            await client.create_collection("memory_anchors")
        yield world


def _version(number: int, text: str = POLICY) -> str:
    return text.replace("version: 1", f"version: {number}")


async def _push(world: World, text: str) -> Outcome:
    file = world.house.root.parent / "pushed.yaml"
    write_private_text(file, text)
    return await push_policy(file, world.administrator_settings())


async def _put(world: World, value: bytes, kind: Kind = Kind.POLICY) -> None:
    """As somebody with an administrator's connection, and with no key to sign with."""
    async with world.connection("administrator") as connection:
        batch = await kept(connection, kind.bucket, CURRENT)
        await put(connection, kind.bucket, CURRENT, value, revision=batch[-1].revision)


async def _administrative(world: World, *, at_least: int, **fields: object) -> list[Record]:
    """The trail's records about documents with these fields, once there are so many."""
    async with asyncio.timeout(EVENT_S):
        while True:
            found = [
                record
                for record in (await world.trail(settle_s=0)).administrative
                if all(getattr(record, name) == value for name, value in fields.items())
            ]
            if len(found) >= at_least:
                return found
            await asyncio.sleep(LOOK_S)


async def _answers(world: World, principal: str = "mallku", times: int = 24) -> set[str]:
    """What so many reads at once are answered, by whichever workers: codes, or nothing."""
    async with world.client(principal, max_attempts=1) as client:
        anchors = client.collection("memory_anchors")

        async def one() -> str:
            try:
                await anchors.count()
            except MallkuError as error:
                return error.code
            return ""

        return set(await asyncio.gather(*(one() for _ in range(times))))


@pytest.mark.timeout(120)
async def test_a_push_under_load_loses_no_command(tmp_path: Path) -> None:
    """Four workers run the new policy within a second; every command is answered at once.

    Every record names the version that decided, and intent and outcome name the same one.
    """
    async with running_world(tmp_path / "house", workers=4, policy=POLICY) as world:
        async with world.client() as client:
            await client.create_collection("memory_anchors")
            async with Load(client) as load:
                for number in (2, 3):
                    outcome = await _push(world, _version(number))
                    assert outcome.missing == []
                    assert len(outcome.adoptions) == 4
                    assert max(each.after_ms for each in outcome.adoptions) <= WITHIN_MS
                    await load.grown()
            await load.check()
        assert {answer.attempts for answer in load.answers} == {1}
        trail = await world.trail()
        assert (await world.verify()).findings.accusations == []
    versions = {record.id: record.policy for record in trail.records if record.kind == "intent"}
    assert set(versions.values()) == {1, 2, 3}
    outcomes = [record for record in trail.records if record.kind in {"done", "failed"}]
    assert all(record.policy == versions[record.id] for record in outcomes)
    assert trail.ids("intent") == trail.ids("done", "failed")


async def test_an_adoption_can_be_checked_by_anybody(own: World) -> None:
    """Each worker's record holds the signed document and the key that it holds with."""
    await _push(own, _version(2))
    records = await _administrative(own, at_least=2, kind="done", policy=2)
    assert len({record.worker for record in records}) == 2
    administrators = {own.furnished.administrator.kid: own.furnished.administrator.public}
    async with own.connection("administrator") as connection:
        (*_, last) = await kept(connection, Kind.POLICY.bucket, CURRENT)
    document = open_document(last.value or b"", Kind.POLICY, administrators)
    for record in records:
        assert record.command == document.parts
        assert record.kid == own.furnished.administrator.kid


async def test_every_refusal_names_the_version(own: World) -> None:
    """Before and after a push, the refused caller and the trail learn which policy decided."""
    async with own.client("mallory") as client:
        for number in (1, 2):
            if number > 1:
                await _push(own, _version(number))
            with pytest.raises(PermissionDenied) as refusal:
                await client.collection("memory_anchors").get("k")
            assert refusal.value.details is not None
            assert refusal.value.details["policy_version"] == number
    refused = [record for record in (await own.trail()).records if record.kind == "denied"]
    assert [record.policy for record in refused] == [1, 2]


async def _is_in_force(world: World, version: int) -> None:
    """The bucket's newest entry is the house's own document of this version."""
    administrators = {world.furnished.administrator.kid: world.furnished.administrator.public}
    async with world.connection("administrator") as connection:
        (*_, last) = await kept(connection, Kind.POLICY.bucket, CURRENT)
    assert open_document(last.value or b"", Kind.POLICY, administrators).version == version


async def test_a_rolled_back_policy_governs_nobody(own: World) -> None:
    """An old document with its true signature does not come back, not even to a new worker."""
    async with own.connection("administrator") as connection:
        (old,) = await kept(connection, Kind.POLICY.bucket, CURRENT)
    await _push(own, _version(2))
    await _put(own, old.value or b"")
    refused = await _administrative(own, at_least=2, kind="denied", code="policy_refused")
    assert "versions only go up" in refused[0].reason
    pid = await own.kill("worker-1", signal.SIGKILL)
    await own.replaced(pid)
    assert len(await _administrative(own, at_least=3, kind="done", policy=2)) == 3
    assert await _answers(own) == {""}


async def test_an_emptied_bucket_changes_nothing(own: World) -> None:
    """After a purge workers go on, `up` puts the document back, and new workers find it."""
    await _push(own, _version(2))
    async with own.connection("administrator") as connection:
        headers = {"KV-Operation": "PURGE", "Nats-Rollup": "sub"}
        subject = f"$KV.{Kind.POLICY.bucket}.{CURRENT}"
        await connection.request(subject, b"", headers=headers, timeout=EVENT_S)
    assert await _answers(own) == {""}
    await until("it is put back", lambda: any(isinstance(e, Restored) for e in own.events))
    await _is_in_force(own, 2)
    pid = await own.kill("worker-1", signal.SIGKILL)
    await own.replaced(pid)
    assert await _answers(own) == {""}


async def test_what_does_not_validate_never_reaches_a_worker(own: World) -> None:
    """A push is refused with file, line and column, and the bucket stays as it was."""
    with pytest.raises(ConfigurationError, match=r"pushed\.yaml:5:5: roles\.service\.rulez"):
        await _push(own, _version(2).replace("rules:", "rulez:", 1))
    await _is_in_force(own, 1)


async def test_a_version_that_is_not_higher_is_refused(own: World) -> None:
    """The error says which version to write; one that was skipped cannot be used later."""
    with pytest.raises(ConfigurationError, match=r"write `version: 2` or higher"):
        await _push(own, POLICY)
    await _push(own, _version(5))
    with pytest.raises(ConfigurationError, match=r"write `version: 6` or higher"):
        await _push(own, _version(3))


async def test_who_is_no_administrator_cannot_push(own: World) -> None:
    """A caller's own key signs no policy, and its connection reaches no bucket."""
    settings = own.client_settings("mallku")
    with pytest.raises(ConfigurationError, match="not the key of an administrator"):
        await push_policy(own.house.policy, settings)


async def test_a_revoked_principal_is_refused_by_every_worker(own: World) -> None:
    """Within a second, its token verified and remembered everywhere; and restored as quickly."""
    assert await _answers(own) == {""}
    settings = own.administrator_settings()
    outcome = await revoke_names(["mallku"], "a test", settings)
    assert (outcome.missing, len(outcome.adoptions)) == ([], 2)
    assert max(each.after_ms for each in outcome.adoptions) <= WITHIN_MS
    assert await _answers(own) == {Revoked.code}
    assert await _answers(own, "mallory") == {PermissionDenied.code}
    records = await _administrative(own, at_least=2, kind="done", policy=None, facts={})
    assert records[0].command is not None
    assert b"a test" in records[0].command[1]
    await revoke_names(["mallku"], None, settings)
    assert await _answers(own) == {""}


async def test_a_revoked_key_is_refused_by_every_worker(own: World) -> None:
    """By its key id alone; a restarted worker refuses it from its first command on."""
    kid = own.caller("mallku").key.kid
    await revoke_names([kid], "stolen", own.administrator_settings())
    assert await _answers(own) == {Revoked.code}
    for place in ("worker-1", "worker-2"):
        await own.replaced(await own.kill(place, signal.SIGKILL))
    assert await _answers(own) == {Revoked.code}


async def test_a_forged_list_un_revokes_nobody(own: World) -> None:
    """An empty list without a signature, an old one with it, a deletion: all change nothing."""
    settings = own.administrator_settings()
    await revoke_names(["mallory"], "first", settings)
    async with own.connection("administrator") as connection:
        (old,) = await kept(connection, Kind.KEYS.bucket, CURRENT)
    await revoke_names(["mallku"], "second", settings)
    for attempt in (b'{"revoked": {}}', old.value or b""):
        await _put(own, attempt, Kind.KEYS)
    await _administrative(own, at_least=4, kind="denied", code="keys_refused")
    assert await _answers(own) == {Revoked.code}


async def test_a_name_with_a_typo_is_not_revoked(own: World) -> None:
    """A list entry that no caller has would only seem to protect."""
    with pytest.raises(ConfigurationError, match="did you mean 'mallory'"):
        await revoke_names(["malory"], "gone", own.administrator_settings())


async def test_the_brokers_lock_follows_the_policy(own: World) -> None:
    """A new principal gets in, a narrower one loses what it listened to, one taken away is out."""
    witness, gone = Witness(), Witness()
    changed = _version(2).replace("inspector: {kind: inspector}", "inspector: {roles: [narrow]}")
    changed = changed.replace("  auditor: {kind: auditor}\n", "  chasqui: {roles: [service]}\n")
    async with (
        own.connection("inspector", on_event=witness) as inspector,
        own.connection("auditor", on_event=gone),
    ):
        heard: list[str] = []
        await inspector.listen("mallku.v1.cmd.>", lambda s, _r, _b, _h: heard.append(s))
        await inspector.flush()
        await _answers(own, times=1)
        await until("what passes is heard", lambda: len(heard) == 1)
        loop = asyncio.get_running_loop()
        started = loop.time()
        await _push(own, changed)
        await gone.sees(EventKind.DISCONNECTED)
        await until("the lock", lambda: _governed(own, 2), timeout_s=5)
        assert loop.time() - started < 2 * WITHIN_MS / 1_000
        assert await _answers(own, "chasqui") == {""}
        await inspector.flush()
        assert len(heard) == 1
        assert await _is_refused(inspector, witness, "mallku.v1.cmd.>")


def _governed(world: World, version: int) -> bool:
    return any(isinstance(e, Governed) and e.version == version for e in world.events)


async def _is_refused(connection: GatewayConnection, witness: Witness, subject: str) -> bool:
    before = witness.kinds.count(EventKind.REFUSED)
    await connection.listen(subject, lambda *_: None)
    await connection.flush()
    return witness.kinds.count(EventKind.REFUSED) > before


async def test_a_revoked_auditor_is_shut_out(own: World) -> None:
    """No worker stands behind the broker for those who send no commands: it closes on them."""
    witness = Witness()
    async with own.connection("auditor", on_event=witness):
        await revoke_names(["auditor"], "left", own.administrator_settings())
        await witness.sees(EventKind.DISCONNECTED)


async def test_up_itself_stays_in(own: World) -> None:
    """A policy without any administrator does not lock out `up`, which goes on following."""
    await _push(own, _version(2).replace("  administrator: {kind: administrator}\n", ""))
    await until("version 2", lambda: _governed(own, 2))
    await _push(own, _version(3))
    await until("version 3", lambda: _governed(own, 3))


async def test_the_next_start_goes_on_from_the_bucket(tmp_path: Path) -> None:
    """An older file does not take back what was pushed; a changed one needs a higher version."""
    folder = tmp_path / "house"
    async with running_world(folder, policy=POLICY) as world:
        await _push(world, _version(4, GENEROUS))
        await until("version 4", lambda: _governed(world, 4))
    house = House(folder)
    async with LocalGateway(furnish(house, 2), port=0, announce=lambda _: None) as gateway:
        world = World(furnish(house, 2), gateway)
        assert world.furnished.policy.version == 4
        await _is_in_force(world, 4)
    write_private_text(house.policy, _version(4))
    with pytest.raises(ConfigurationError, match=r"write `version: 5`"):
        furnish(house, 2)
    write_private_text(house.policy, _version(5))
    async with LocalGateway(furnish(house, 2), port=0, announce=lambda _: None) as gateway:
        world = World(furnish(house, 2), gateway)
        await _is_in_force(world, 5)


async def test_a_lost_house_does_not_roll_back(tmp_path: Path) -> None:
    """A policy file older than what the trail has seen is refused, though nothing else is left."""
    folder = tmp_path / "house"
    async with running_world(folder, policy=POLICY) as world:
        await _push(world, _version(4))
    house = House(folder)
    house.adopted.unlink()
    (bucket,) = house.streams.rglob("KV_mallku_policy")
    bucket.rename(tmp_path / "lost")
    gateway = LocalGateway(furnish(house, 1), port=0, announce=lambda _: None)
    with pytest.raises(ConfigurationError, match=r"write `version: 5`"):
        await gateway.__aenter__()


async def test_a_candidate_is_compared_with_what_was_asked(own: World) -> None:
    """Of the commands on the trail those are listed that would newly be refused or allowed."""
    await _answers(own, times=3)
    await _answers(own, "mallory", times=2)
    candidate = own.house.root.parent / "candidate.yaml"
    narrower = POLICY.replace("operations: [read, write]", "operations: [write]")
    write_private_text(candidate, _version(2, narrower))
    found = await compare_policy(candidate, find_stretch("1h", None), own.administrator_settings())
    assert (found.now, found.then) == (1, 2)
    assert bool(found.comparison)
    changes = {
        (each.direction, each.principal, each.operation): n
        for each, n in found.comparison.changes.items()
    }
    assert changes == {("refused", "mallku", "count"): 3}
    same = await compare_policy(
        own.house.policy, find_stretch(None, 100), own.administrator_settings()
    )
    assert not same.comparison
    assert same.comparison.decided >= 4
