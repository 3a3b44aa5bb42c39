"""A trail that a real gateway wrote, and somebody who owns the server and its disk."""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mallku_broker.accounts import (
    Account,
    Permissions,
    User,
)
from mallku_broker.configuration import (
    ServerConfiguration,
)
from mallku_broker.connection import ConnectionSettings, GatewayConnection, connect
from mallku_broker.files import load_signing_key, load_token, write_private_text
from mallku_broker.nkeys import new_nkey
from mallku_broker.server import EmbeddedServer
from mallku_broker.streams import AUDIT, CHECKPOINTS, StreamSettings, definitions
from mallku_broker.trust import load_trust
from mallku_client import ClientSettings
from mallku_client.answers import Answer
from mallku_client.trail import AuditReader
from mallku_contracts.audit import Record
from mallku_contracts.keys import SigningKey
from mallku_contracts.limits import MIB
from mallku_contracts.trail.checkpoint import open_checkpoint
from mallku_contracts.trail.findings import REMARKS, Kind
from mallku_contracts.trail.proof import ReceiptBundle
from mallku_contracts.trail.stored import TrailEntry
from mallku_contracts.trail.verification import Report
from mallku_contracts.trust import Trust
from mallku_deploy.auditing.prove import prove
from mallku_deploy.auditing.verify import Order, verify_trail
from mallku_deploy.furnish import Furnished, furnish
from mallku_deploy.house import House
from mallku_deploy.server import server_configuration
from mallku_workers.audit.witness import FileWitness
from tests.integration.world import running_world

COMMANDS = 12
WORKERS = 2
SMALL = StreamSettings(audit_bytes=8 * MIB, checkpoint_bytes=2 * MIB)


@dataclass(frozen=True)
class Held:
    """What an auditor holds of a trail before anybody touched it."""

    house: Path
    receipts: tuple[Path, ...]
    witness: Path
    state: Path


@dataclass(frozen=True)
class Vault:
    """A copy of the gateway's house with its server running, and nothing else.

    Attributes:
        intruder: May do everything in the account of the streams.
    """

    house: House
    server: EmbeddedServer
    intruder: GatewayConnection

    @property
    def trust(self) -> Trust:
        """Whose workers the auditor believes."""
        return load_trust(self.house.trust)

    async def read(self, stream: str = AUDIT) -> list[TrailEntry]:
        """Every message of a stream, as the server stores it."""
        last = (await self._ask(f"STREAM.INFO.{stream}", {}))["state"]["last_seq"]
        return [await self._get(stream, sequence) for sequence in range(1, last + 1)]

    async def publish(self, subject: str, data: bytes) -> int:
        """Append a message; its sequence."""
        answer = await self.intruder.request(subject, data, timeout=5.0)
        return int(json.loads(answer.data)["seq"])

    async def recreate(
        self, stream: str, entries: Sequence[TrailEntry], settings: StreamSettings = SMALL
    ) -> None:
        """Delete a stream and make it anew, of the same name and settings, with these messages."""
        await self._ask(f"STREAM.DELETE.{stream}", {})
        (made,) = [each for each in definitions(settings) if each.name == stream]
        await self._ask(f"STREAM.CREATE.{stream}", dict(made.configuration))
        for entry in entries:
            await self.publish(entry.subject, entry.data)

    async def delete(self, stream: str, sequence: int) -> dict[str, Any]:
        """Ask the server to delete one message; its answer."""
        call = f"$JS.API.STREAM.MSG.DELETE.{stream}"
        body = json.dumps({"seq": sequence, "no_erase": True}).encode()
        answer = await self.intruder.request(call, body, timeout=5.0)
        return dict(json.loads(answer.data))

    async def verify(self, later_s: float = 0.0, **order: Any) -> Report:
        """What a verification says, `later_s` from now."""
        order = {"trust": self.trust, **order}
        now_ms = time.time_ns() // 1_000_000 + int(later_s * 1_000)
        async with await AuditReader.connect(settings=self.auditor) as trail:
            return await verify_trail(trail, Order(**order), lambda: now_ms)

    async def prove(self, bundle: ReceiptBundle) -> ReceiptBundle:
        """The receipt with the proof that the trail has for it; its checkpoint is there, or not."""
        async with await AuditReader.connect(settings=self.auditor) as trail:
            return await prove(trail, bundle, self.trust, wait_s=0.5, with_record=True)

    @property
    def auditor(self) -> ClientSettings:
        """What an auditor's process would find in its environment."""
        return ClientSettings.from_environment(self.house.environment("auditor", self.server.url))

    def worker(self, slot: str = "worker-1") -> tuple[SigningKey, bytes]:
        """A worker's key and token, for whoever owns the disk."""
        files = self.house.worker(slot)
        return load_signing_key(files.key), load_token(files.token).encode()

    def caller(self) -> tuple[SigningKey, bytes]:
        """A caller's key and token."""
        files = self.house.principal("mallku")
        return load_signing_key(files.key), load_token(files.token).encode()

    async def _get(self, stream: str, sequence: int) -> TrailEntry:
        message = (await self._ask(f"STREAM.MSG.GET.{stream}", {"seq": sequence}))["message"]
        data = base64.b64decode(message.get("data", ""))
        return TrailEntry(message["seq"], message["subject"], 0, data)

    async def _ask(self, call: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.intruder.request(f"$JS.API.{call}", json.dumps(body).encode())
        said: dict[str, Any] = json.loads(answer.data)
        assert "error" not in said, (call, said)
        return said


async def write_trail(folder: Path) -> Held:
    """Let a real gateway write a trail, stop it, and keep what an auditor would keep."""
    async with running_world(folder / "house", WORKERS) as world, world.client() as client:
        anchors = await client.create_collection("memory_anchors")
        answers: list[Answer] = []
        for number in range(COMMANDS):
            document = {"_key": f"k{number}", "kind": "khipu", "weight": 3}
            await anchors.insert(document, on_answer=answers.append)
    receipts = tuple(folder / f"receipt-{number}.json" for number in range(COMMANDS))
    for path, answer in zip(receipts, answers, strict=True):
        write_private_text(path, answer.receipt_bundle)
    held = Held(folder / "house", receipts, folder / "witness.jsonl", folder / "trail.state")
    await _keep(held)
    return held


async def _keep(held: Held) -> None:
    """A witness's file, and the state after one verification, of the trail as it should be."""
    async with opened(held.house) as vault:
        witness = FileWitness(held.witness)
        for entry in await vault.read(CHECKPOINTS):
            await witness.keep(open_checkpoint(entry.data, vault.trust))
        report = await vault.verify(state=held.state)
    assert report.clean, report.findings


@asynccontextmanager
async def opened(house: Path) -> AsyncGenerator[Vault]:
    """The server of a house, with one user more than it should have."""
    furnished = furnish(House(house), WORKERS)
    seed, public = new_nkey()
    credentials = house / "intruder.nk"
    write_private_text(credentials, seed + "\n")
    everything = Permissions(publish=(">",), subscribe=(">",))
    intruder = User("intruder", public, Account.RECORDS, everything)
    server = EmbeddedServer(_configuration(furnished, intruder), furnished.house.server)
    await server.start()
    try:
        settings = ConnectionSettings(url=server.url, credentials=credentials)
        connection = await connect(settings, name="intruder", inbox_prefix="_INBOX_intruder")
        try:
            yield Vault(furnished.house, server, connection)
        finally:
            await connection.close()
    finally:
        await server.stop()


def _configuration(furnished: Furnished, intruder: User) -> ServerConfiguration:
    made = server_configuration(furnished, 0)
    return replace(made, users=(*made.users, intruder))


def copied(held: Held, folder: Path) -> Path:
    """The house once more, to be tampered with; what the auditor holds stays where it is."""
    return Path(shutil.copytree(held.house, folder / "house", symlinks=True))


def altered(entry: TrailEntry, **changes: Any) -> TrailEntry:
    """The same message with other fields in its record."""
    return entry._replace(data=replace(Record.read(entry.data), **changes).pack())


def first(entries: Sequence[TrailEntry], wanted: Callable[[Record], bool]) -> int:
    """The place in the list of the first record that is wanted."""
    return next(place for place, each in enumerate(entries) if wanted(Record.read(each.data)))


def kinds(report: Report) -> set[Kind]:
    """What was found that accuses somebody."""
    return set(report.findings.counts) - REMARKS
