"""What governs a worker, on a real server: what it takes, what it refuses, and what it keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mallku_broker.acknowledgements import AcknowledgementMultiplexer
from mallku_broker.buckets import kept, put
from mallku_broker.connection import GatewayConnection
from mallku_broker.events import EventKind
from mallku_broker.streams import AUDIT
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from mallku_contracts.governed import CURRENT, Kind, adopted, sign_document
from mallku_contracts.keys import SigningKey
from mallku_contracts.revocation import RevocationList
from mallku_contracts.routes import Route
from mallku_contracts.subjects import CommandSubject, audit_subject
from mallku_contracts.trust import Trust
from mallku_workers.governance import Governor, governor, office
from tests.support.nats import (
    ADMINISTRATOR,
    WORKER_RECORDS,
    NatsHouse,
    Witness,
    nats_house,
    until,
)

KEY = SigningKey(b"a" * 32)
NEXT_KEY = SigningKey(b"n" * 32)
ISSUER = SigningKey(b"i" * 32)
TEXT = "version: {version}\nroles: {{}}\nprincipals: {{mallku: {{}}}}\nrevoked: [{revoked}]\n"


@dataclass
class Trail:
    """Remembers what a governor would put on the trail."""

    records: list[tuple[CommandSubject, str, dict[str, Any]]] = field(default_factory=list)

    def administrative(self, subject: CommandSubject, kind: str, **fields: Any) -> None:
        """As the audit writer's."""
        self.records.append((subject, kind, fields))

    def reasons(self) -> list[str]:
        """Why documents were refused."""
        return [fields["reason"] for _, kind, fields in self.records if kind == "denied"]

    def versions(self, kind: Kind = Kind.POLICY) -> list[int]:
        """The versions that were adopted."""
        return [
            int(subject.collection)
            for subject, outcome, _ in self.records
            if outcome == "done" and subject.database == kind.bucket
        ]


@dataclass
class Court:
    """A server with buckets, a trust file, and somebody who puts documents."""

    house: NatsHouse
    trust: Path
    trail: Trail = field(default_factory=Trail)

    async def put(self, value: bytes, kind: Kind = Kind.POLICY) -> None:
        """As an administrator of the broker."""
        async with self.house.connection(ADMINISTRATOR) as connection:
            batch = await kept(connection, kind.bucket, CURRENT)
            last = batch[-1].revision if batch else 0
            await put(connection, kind.bucket, CURRENT, value, revision=last)

    async def policy(self, version: int, *, revoked: str = "", key: SigningKey = KEY) -> None:
        """Put a signed policy."""
        text = TEXT.format(version=version, revoked=revoked)
        await self.put(sign_document(Kind.POLICY, version, text.encode(), key, issued_at=0).data)

    async def revoke(self, version: int, *names: str) -> None:
        """Put a signed revocation list."""
        text = RevocationList().with_names(names, "a test", 0).to_text()
        document = sign_document(Kind.KEYS, version, text.encode(), KEY, issued_at=0)
        await self.put(document.data, Kind.KEYS)

    async def flags(self, version: int, text: str = "default: shadow\n", written: int = 0) -> None:
        """Put signed flags."""
        body = f"version: {written or version}\n{text}".encode()
        document = sign_document(Kind.FLAGS, version, body, KEY, issued_at=0)
        await self.put(document.data, Kind.FLAGS)

    async def was_adopted(self, kind: Kind, version: int) -> None:
        """Write an adoption on the real trail, as some worker did."""
        async with (
            self.house.connection(WORKER_RECORDS) as worker,
            AcknowledgementMultiplexer(worker, expected_stream=AUDIT) as trail,
        ):
            subject = audit_subject(adopted(kind, version), "done")
            await trail.publish(subject, b"", message_id=subject, timeout=5)

    def governor(self, connection: GatewayConnection) -> Governor:
        """A governor of its own, not yet entered."""
        return Governor(connection, self.trail, "w1", self.trust)

    @asynccontextmanager
    async def governed(self, **more: Any) -> AsyncGenerator[Governor]:
        """A governor that follows every change."""
        async with (
            self.house.connection(WORKER_RECORDS, **more) as connection,
            self.governor(connection) as entered,
        ):
            following = asyncio.create_task(entered.govern())
            try:
                yield entered
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def refused_to_start(self) -> str:
        """What a governor says that may not serve."""
        async with self.house.connection(WORKER_RECORDS) as connection:
            with pytest.raises(ConfigurationError) as refusal:
                await self.governor(connection).__aenter__()
        return refusal.value.message


@asynccontextmanager
async def _court(folder: Path) -> AsyncGenerator[Court]:
    trust = folder / "trust.json"
    trust.write_text(Trust.of("issuer", ISSUER.public).to_json(KEY.public))
    async with nats_house(folder / "nats") as house:
        yield Court(house, trust)


async def test_without_a_policy_nobody_serves(tmp_path: Path) -> None:
    """The error names the bucket and the command that fills it; a forged one counts as none."""
    async with _court(tmp_path) as court:
        assert "mallku-gateway policy push" in await court.refused_to_start()
        await court.put(b"version: 1\nroles: {}\nprincipals: {}\n")
        assert "mallku_policy" in await court.refused_to_start()
        assert court.trail.versions() == []
        assert len(court.trail.reasons()) == 1


@pytest.mark.parametrize("kind", list(Kind))
async def test_a_worker_that_starts_below_the_trail_does_not_serve(
    tmp_path: Path, kind: Kind
) -> None:
    """Neither an older document nor an emptied bucket takes back what was in force."""
    async with _court(tmp_path) as court:
        await court.policy(3)
        await court.revoke(3, "mallory")
        await court.flags(3)
        await court.was_adopted(kind, 4)
        for emptied in (False, True):
            if emptied:
                await court.put(b"", kind)
            message = await court.refused_to_start()
            assert kind.bucket in message
            assert "version 4 or higher" in message
            assert "higher version" in message


async def test_a_worker_that_starts_at_the_trails_version_serves(tmp_path: Path) -> None:
    """The highest version on the trail is the lowest that may govern."""
    async with _court(tmp_path) as court:
        await court.policy(3)
        await court.was_adopted(Kind.POLICY, 3)
        async with court.governed() as governed:
            assert governed.policy.version == 3


async def test_a_bucket_that_lags_behind_the_trail_is_waited_for(tmp_path: Path) -> None:
    """A server of a cluster may show the adoption before the document that was adopted."""
    async with _court(tmp_path) as court:
        await court.policy(3)
        await court.was_adopted(Kind.POLICY, 4)
        async with court.house.connection(WORKER_RECORDS) as connection:
            entered = court.governor(connection)
            starting = asyncio.create_task(entered.__aenter__())
            await until(lambda: bool(court.trail.reasons()))
            assert not starting.done()
            await court.policy(4)
            async with asyncio.timeout(office.CATCH_UP_S):
                await starting
            assert entered.policy.version == 4
            await entered.__aexit__(None, None, None)


async def test_policies_follow_each_other(tmp_path: Path) -> None:
    """Each higher version takes the place of the one before it, and is written down once."""
    async with _court(tmp_path) as court:
        await court.policy(1)
        async with court.governed() as governed:
            for version in (2, 7):
                await court.policy(version)
                await until(partial(_runs, governed, version))
            await court.policy(5)
            await until(lambda: len(court.trail.reasons()) == 1)
            assert governed.policy.version == 7
    assert court.trail.versions() == [1, 2, 7]


def _runs(governed: Governor, version: int) -> bool:
    return governed.policy.version == version


async def test_both_lists_revoke(tmp_path: Path) -> None:
    """The policy's own list and the signed one add up; a later list without a name restores it."""
    async with _court(tmp_path) as court:
        await court.policy(1, revoked="carol")
        async with court.governed() as governed:
            assert governed.is_revoked("carol")
            assert not governed.is_revoked("mallory")
            await court.revoke(1, "mallory")
            await until(lambda: governed.is_revoked("mallory"))
            await court.revoke(2)
            await until(lambda: not governed.is_revoked("mallory"))
            assert governed.is_revoked("carol")
    assert court.trail.versions(Kind.KEYS) == [1, 2]


def _has_flags(governed: Governor) -> bool:
    return governed.flags is not None


async def test_flags_are_followed_and_are_on_the_trail(tmp_path: Path) -> None:
    """A worker serves without flags, takes signed ones, and keeps them when others are put there.

    Refused are flags of no higher version, that do not validate, that say another version than
    what was signed, and without a signature.
    """
    async with _court(tmp_path) as court:
        await court.policy(1)
        async with court.governed() as governed:
            assert not _has_flags(governed)
            await court.flags(1, "collections: {a: legacy, 'a*': shadow}\n")
            await until(lambda: _has_flags(governed))
            await court.flags(1, "default: legacy\n")
            await court.flags(2, "default: nowhere\n")
            await court.flags(3, written=4)
            await court.put(b"version: 9", Kind.FLAGS)
            await court.flags(5)
            await until(lambda: governed.flags is not None and governed.flags.version == 5)
            assert governed.flags is not None
            assert governed.flags.route("a") is Route.SHADOW
    assert court.trail.versions(Kind.FLAGS) == [1, 5]
    reasons = court.trail.reasons()
    assert len(reasons) == 4
    assert "legacy or shadow or gateway is expected" in reasons[1]


async def test_a_lost_broker_un_revokes_nobody(tmp_path: Path) -> None:
    """While the server is away, and after it came back, what was in force is."""
    witness = Witness()
    async with _court(tmp_path) as court:
        await court.policy(1)
        await court.revoke(1, "mallory")
        async with court.governed(on_event=witness) as governed:
            court.house.kill()
            await court.house.server.wait()
            await witness.sees(EventKind.DISCONNECTED)
            assert governed.is_revoked("mallory")
            assert governed.policy.version == 1
            await court.house.server.start()
            await court.revoke(2, "mallory", "eve")
            await until(lambda: governed.is_revoked("eve"))
            assert governed.is_revoked("mallory")
    assert court.trail.reasons() == []
    assert court.trail.versions() == [1]


async def test_what_fell_into_a_gap_is_made_up_for(tmp_path: Path) -> None:
    """A version that was pushed while the connection was down is in force soon after it is back."""
    witness = Witness()
    async with _court(tmp_path) as court:
        await court.policy(1)
        async with court.governed(on_event=witness, reconnect_min_wait_s=1.0) as governed:
            court.house.kill()
            await court.house.server.wait()
            await witness.sees(EventKind.DISCONNECTED)
            await court.house.server.start()
            await court.policy(2)
            await until(lambda: governed.policy.version == 2)


async def test_administrators_can_change(tmp_path: Path) -> None:
    """The trust file is read again for each document: a new key counts, a removed one does not."""
    async with _court(tmp_path) as court:
        await court.policy(1)
        async with court.governed() as governed:
            await court.policy(2, key=NEXT_KEY)
            await until(lambda: len(court.trail.reasons()) == 1)
            court.trust.write_text(Trust.of("issuer", ISSUER.public).to_json(NEXT_KEY.public))
            await court.policy(3, key=NEXT_KEY)
            await until(lambda: governed.policy.version == 3)
            await court.policy(4)
            await until(lambda: len(court.trail.reasons()) == 2)
            court.trust.unlink()
            await court.policy(5, key=NEXT_KEY)
            await until(lambda: governed.policy.version == 5)
    assert all("no administrator has" in reason for reason in court.trail.reasons())


async def test_a_broker_that_says_nothing_is_waited_for_only_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that cannot read what governs it does not hang, and does not serve."""
    monkeypatch.setattr(governor, "START_S", 0.3)
    async with _court(tmp_path) as court:
        await court.policy(1)
        async with court.house.connection(WORKER_RECORDS) as connection:
            await court.house.freeze()
            with pytest.raises(GatewayUnreachable, match="mallku_policy"):
                await court.governor(connection).__aenter__()
            court.house.thaw()
