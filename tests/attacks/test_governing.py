"""Somebody writes the policy, or the list of what is revoked, past its signature."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from mallku_broker.buckets import kept, put
from mallku_broker.files import write_private_text
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.governed import CURRENT, GATEWAY, Document, Kind, sign_document
from mallku_contracts.keys import SigningKey
from mallku_deploy.events import Restored, Untaken
from mallku_deploy.governing import push_policy, revoke_names
from tests.attacks.arena import Arena, Attacker, eventually
from tests.attacks.arena import refused_by_each_worker as refused
from tests.attacks.cast import POLICY_TEXT, SCRATCH, VAULT
from tests.integration.world import exchange
from tests.support.nats import Witness

pytestmark = pytest.mark.asyncio(loop_scope="session")

BUCKETS = ("KV_mallku_policy", "KV_mallku_keys")
STRANGER = SigningKey(b"s" * 32)


@pytest_asyncio.fixture(loop_scope="session")
async def governed(gateway: Arena) -> AsyncIterator[Arena]:
    """As `arena`, where the bucket may be written into: by an administrator's own connection."""
    before = await gateway.state()
    yield gateway
    await gateway.check(before, moved=BUCKETS)


def _generous(version: int) -> str:
    """A policy under which the small role may do everything."""
    text = POLICY_TEXT.replace("roles: [small]", "roles: [everything]")
    return text.replace("version: 1", f"version: {version}", 1)


async def _current(arena: Arena) -> bytes:
    async with arena.world.connection("administrator") as connection:
        (*_, last) = await kept(connection, Kind.POLICY.bucket, CURRENT)
    return last.value or b""


async def _put(arena: Arena, data: bytes, kind: Kind = Kind.POLICY) -> None:
    """As who has an administrator's connection, and no key that signs."""
    async with arena.world.connection("administrator") as connection:
        batch = await kept(connection, kind.bucket, CURRENT)
        revision = batch[-1].revision if batch else 0
        await put(connection, kind.bucket, CURRENT, data, revision=revision)


async def _refusals(arena: Arena, code: str) -> Counter[str]:
    """How often each worker refused a document with this code."""
    records = await arena.read_trail()
    return Counter(r.worker for r in records if r.principal == GATEWAY and r.code == code)


async def _refused_by_both(arena: Arena, before: Counter[str], code: str) -> None:
    async def have_refused() -> bool:
        return len(await _refusals(arena, code) - before) >= 2

    await eventually(f"{code} by both workers", have_refused)


async def _still_small(arena: Arena) -> None:
    """Somebody with a small role gets nothing out of the vault, from either worker."""
    async with arena.attacker() as attacker:
        sent = attacker.caller.seal("get", {"document": "v0"}, VAULT)
        codes = await refused(attacker.connection, sent)
        assert codes["permission_denied"] >= 1
        assert set(codes) <= {"permission_denied", "replayed"}


def _sign(kind: Kind, version: int, text: str, key: SigningKey) -> Document:
    return sign_document(kind, version, text.encode(), key, issued_at=0)


@pytest.mark.parametrize("forgery", ["unsigned", "by a stranger", "of another kind", "bent"])
async def test_a_policy_without_an_administrators_signature_is_put_into_the_bucket(
    governed: Arena, forgery: str
) -> None:
    """Both workers refuse it, on the trail; the one in force stays in force and is put back."""
    text = _generous(9)
    own = governed.world.furnished.administrator
    genuine = _sign(Kind.POLICY, 9, text, own).data
    data = {
        "unsigned": text.encode(),
        "by a stranger": _sign(Kind.POLICY, 9, text, STRANGER).data,
        "of another kind": _sign(Kind.KEYS, 9, text, own).data,
        "bent": genuine.replace(b"in_flight: 64", b"in_flight: 65"),
    }[forgery]
    former, before = await _current(governed), await _refusals(governed, "policy_refused")
    await _put(governed, data)
    await _refused_by_both(governed, before, "policy_refused")
    await _still_small(governed)
    await _put_right(governed, former)


async def _put_right(arena: Arena, former: bytes) -> None:
    async def is_right() -> bool:
        return await _current(arena) == former

    await eventually("the former policy in the bucket", is_right)
    assert any(isinstance(event, Untaken) for event in arena.world.events)
    assert any(isinstance(event, Restored) for event in arena.world.events)


async def test_a_policy_is_rolled_back(governed: Arena) -> None:
    """A policy that was in force before, with its true signature, does not come back."""
    old = await _current(governed)
    file = governed.world.house.root.parent / "pushed.yaml"
    write_private_text(file, POLICY_TEXT.replace("version: 1", "version: 2", 1))
    outcome = await push_policy(file, governed.world.administrator_settings())
    assert outcome.missing == []
    newer, before = await _current(governed), await _refusals(governed, "policy_refused")
    await _put(governed, old)
    await _refused_by_both(governed, before, "policy_refused")
    async with governed.attacker() as attacker:
        sent = attacker.caller.seal("count", {}, SCRATCH)
        await exchange(attacker.connection, sent)
        (record, _) = await governed.told(attacker.principal, Counter(intent=1, done=1))
        assert record.policy == 2
    await _put_right(governed, newer)


async def test_a_revocation_is_undone_by_a_list_without_a_signature(governed: Arena) -> None:
    """Nobody is let in again by who can write into the bucket alone."""
    settings = governed.world.administrator_settings()
    async with governed.attacker() as attacker:
        await revoke_names([attacker.principal], "caught", settings)
        sent = attacker.caller.seal("count", {}, SCRATCH)
        assert set(await refused(attacker.connection, sent)) == {"revoked"}
        before = await _refusals(governed, "keys_refused")
        await _put(governed, b'{"revoked": {}}', Kind.KEYS)
        await _refused_by_both(governed, before, "keys_refused")
        assert set(await refused(attacker.connection, sent)) == {"revoked"}
        await revoke_names([attacker.principal], None, settings)


@pytest.mark.parametrize("who", ["a caller", "auditor", "inspector"])
async def test_who_is_no_administrator_writes_into_the_buckets(arena: Arena, who: str) -> None:
    """The broker takes nothing from them for a bucket, and no push reaches it."""
    async with arena.attacker() as attacker:
        witness = Witness()
        name = attacker.principal if who == "a caller" else who
        async with arena.world.connection(name, on_event=witness) as connection:
            someone = Attacker(name, attacker.caller, connection, witness)
            for kind in Kind:
                await someone.refused_to_publish(f"$KV.{kind.bucket}.{CURRENT}", b"{}")
        if who == "a caller":
            with pytest.raises(ConfigurationError, match="not the key of an administrator"):
                await push_policy(arena.world.house.policy, arena.world.client_settings(name))
