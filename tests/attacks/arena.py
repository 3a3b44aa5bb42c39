"""Where attacks happen: a real gateway, its victims, its attackers, and what is left afterwards."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Final

from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from mallku_broker.accounts import (
    AUDITOR_PREFIX,
)
from mallku_broker.connection import GatewayConnection
from mallku_broker.events import EventKind
from mallku_broker.streams import AUDIT, CHECKPOINTS, KEYS, POLICY
from mallku_client import SecuredDatabaseInterface
from mallku_contracts.audit import Record
from mallku_contracts.envelope import CommandHeader, Envelope, ReplyHeader, command_signing_input
from mallku_contracts.keys import PublicKey
from mallku_contracts.limits import MAX_REPLY_BYTES
from mallku_deploy.events import WorkerReady
from mallku_deploy.server import connect_as
from tests.attacks.cast import (
    BYSTANDER,
    DATABASE,
    FLOODERS,
    GREEDY,
    NOTES,
    OPERATOR,
    SCRATCH,
    SECRET,
    SMALL,
    VAULT,
    VICTIM,
    WIDE,
)
from tests.integration.world import EVENT_S, LOOK_S, World, ask, exchange, until
from tests.support.nats import Witness
from tests.support.simulated_caller import Answer, Sent, SimulatedCaller

PROTECTED_STREAMS: Final = (AUDIT, CHECKPOINTS, f"KV_{POLICY}", f"KV_{KEYS}")
IDLE_S: Final = 600.0
"""How long the reader of the trail may be idle, seconds."""

MAX_TRIES: Final = 200
"""How often one asks until each worker has answered."""


@dataclass(repr=False)  # pytest shows fixtures, and these hold a whole trail
class Attacker:
    """Somebody with valid credentials of their own, and what the broker says to them."""

    principal: str
    caller: SimulatedCaller
    connection: GatewayConnection
    witness: Witness

    def subject(self, operation: str, collection: str = SCRATCH) -> str:
        """Where commands of this attacker are published."""
        return f"mallku.v1.cmd.{self.principal}.{DATABASE}.{collection}.{operation}"

    def job(self, operation: str, collection: str = SCRATCH) -> str:
        """Where durable jobs of this attacker are published."""
        return f"mallku.v1.job.{self.principal}.{DATABASE}.{collection}.{operation}"

    def inbox(self, name: str = "x") -> str:
        """An inbox of this attacker's own."""
        return f"_INBOX_mallku.{self.principal}.{name}"

    async def refused_to_publish(self, subject: str, body: bytes = b"", reply: str = "") -> None:
        """Publish, and wait for the broker's refusal."""
        before = len(self._refusals(subject))
        self.connection.post(subject, body, reply=reply)
        await self.connection.flush()
        await until(
            f"a refusal to publish {subject}", lambda: len(self._refusals(subject)) > before
        )

    async def refused_to_listen(self, subject: str, queue: str = "") -> None:
        """Subscribe, and wait for the broker's refusal; nothing may have been heard."""
        heard: list[str] = []
        before = self.witness.kinds.count(EventKind.REFUSED)
        subscription = await self.connection.listen(
            subject, lambda s, _r, _b, _h: heard.append(s), queue=queue
        )
        await self.connection.flush()
        await until(
            f"a refusal to listen to {subject}",
            lambda: self.witness.kinds.count(EventKind.REFUSED) > before,
        )
        await self.connection.unlisten(subscription)
        assert heard == []

    def _refusals(self, subject: str) -> list[str]:
        return [
            event.subject
            for event in self.witness.events
            if event.kind is EventKind.REFUSED and event.subject == subject.lower()
        ]


MOST_AT_ONCE = 50
"""Records of the trail in one fetch: the server drops who does not take 64 MiB quickly enough."""

PATIENCE_S = 30.0
"""How long they may take on a busy machine, seconds."""


@dataclass(frozen=True)
class State:
    """What an attack must not change.

    Attributes:
        documents: The victim's documents, and everybody's notes.
        workers: Process ids by place.
        streams: First and last sequence of those that an attacker may want to write to.
    """

    documents: Any
    workers: dict[str, int]
    streams: dict[str, tuple[int, int]]


@dataclass(repr=False)
class Arena:
    """A running gateway with two workers, and everything that tells what became of it.

    Attributes:
        records: The trail as far as it was read.
    """

    world: World
    operator: SecuredDatabaseInterface
    bystander: GatewayConnection
    administrator: GatewayConnection
    reader: JetStreamContext.PullSubscription
    records: list[Record] = field(default_factory=list[Record])
    _small: Iterator[str] = field(default_factory=lambda: cycle(SMALL))
    _wide: Iterator[str] = field(default_factory=lambda: cycle(WIDE))
    _flooders: Iterator[str] = field(default_factory=lambda: iter(FLOODERS))
    _since: dict[str, int] = field(default_factory=dict[str, int])

    @asynccontextmanager
    async def attacker(self, *, wide: bool = False) -> AsyncGenerator[Attacker]:
        """Somebody with credentials of their own, of whom the trail knows nothing from now on."""
        async with self._connected(next(self._wide if wide else self._small)) as attacker:
            yield attacker

    @asynccontextmanager
    async def flooder(self) -> AsyncGenerator[Attacker]:
        """Somebody with a small role, of whom more is refused than the trail holds one by one."""
        async with self._connected(next(self._flooders)) as attacker:
            yield attacker

    @asynccontextmanager
    async def _connected(self, principal: str) -> AsyncGenerator[Attacker]:
        self._since[principal] = len(await self.read_trail())
        witness = Witness()
        async with self.world.connection(principal, on_event=witness) as connection:
            yield Attacker(principal, self.world.caller(principal), connection, witness)

    @asynccontextmanager
    async def greedy(self) -> AsyncGenerator[Attacker]:
        """Somebody whom no limit of their role holds back."""
        async with self._connected(GREEDY) as attacker:
            yield attacker

    @asynccontextmanager
    async def victim(self) -> AsyncGenerator[Attacker]:
        """The victim's own connection, key and token, as the victim itself uses them."""
        async with self._connected(VICTIM) as victim:
            yield victim

    async def state(self) -> State:
        """What stands there now."""
        documents = {name: await self._documents(name) for name in (VAULT, NOTES)}
        streams = {name: await self.stream(name) for name in PROTECTED_STREAMS}
        return State(documents, dict(self.world.workers), streams)

    async def _documents(self, name: str) -> list[dict[str, Any]]:
        return [document async for document in self.operator.collection(name).find({})]

    async def stream(self, name: str) -> tuple[int, int]:
        """First and last sequence of a stream."""
        answer = await self.administrator.request(f"$JS.API.STREAM.INFO.{name}", b"", timeout=5)
        state = json.loads(answer.data)["state"]
        return int(state["first_seq"]), int(state["last_seq"])

    async def read_trail(self) -> list[Record]:
        """Everything that the trail holds now, each record checked for what can be checked."""
        _, last = await self.stream(AUDIT)
        while len(self.records) < last:
            most = min(last - len(self.records), MOST_AT_ONCE)
            for message in await self.reader.fetch(most, timeout=PATIENCE_S):
                self.records.append(self._checked(message))
        return self.records

    def _checked(self, message: Msg) -> Record:
        """A record that one of our workers wrote, about the subject that it was published on."""
        record = Record.read(message.data)
        instances = {e.instance for e in self.world.events if isinstance(e, WorkerReady)}
        assert record.worker in instances
        assert message.subject.split(".")[3] == record.principal
        assert message.subject.rpartition(".")[2] == record.kind
        if record.kind == "intent":
            assert record.command is not None
            protected, body, signature, key = record.command
            assert CommandHeader.read(protected).id == record.id
            signed = command_signing_input(record.subject, protected, body)
            assert PublicKey(key).verify(signed, signature)
        return record

    async def told(self, principal: str, expected: Counter[str]) -> list[Record]:
        """Wait until the trail says exactly this of an attacker: codes of refusals, else kinds."""
        mine, since = list[Record](), self._since[principal]

        async def is_told() -> bool:
            records = (await self.read_trail())[since:]
            mine[:] = [record for record in records if record.principal == principal]
            return _counted(mine) == expected

        try:
            await eventually(f"a trail of {dict(expected)}", is_told)
        except AssertionError as error:
            raise AssertionError(f"{error}; there is {dict(_counted(mine))}") from None
        return mine

    async def tells(self, principal: str, code: str, subject: str) -> Record:
        """Wait for a refusal with this code of something on this subject, since they came."""
        wanted, since = (principal, code, subject), self._since.get(principal, 0)
        found: list[Record] = []

        async def is_there() -> bool:
            records = (await self.read_trail())[since:]
            found.extend(r for r in records if (r.principal, r.code, r.subject) == wanted)
            return bool(found)

        await eventually(f"{code} of {subject}", is_there)
        return found[0]

    async def served(self) -> None:
        """A bystander is answered by every worker."""
        caller = self.world.caller(BYSTANDER)
        await by_each_worker(
            self.bystander, lambda: caller.seal("count", {}, SCRATCH), len(self.world.workers)
        )

    async def check(self, before: State, *, moved: Iterable[str] = ()) -> None:
        """Nothing was lost, changed or put anywhere, and everybody else is served.

        Args:
            moved: Streams that the attack was allowed to add to, as an administrator is.
        """
        await self.served()
        after = await self.state()
        assert after.documents == before.documents
        assert after.workers == before.workers
        for name, (first, last) in after.streams.items():
            assert first <= max(before.streams[name][0], 1)
            if name not in (AUDIT, CHECKPOINTS, *moved):
                assert last == before.streams[name][1]
        await self.read_trail()


async def eventually(what: str, condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what other processes bring about; fails with its name."""
    try:
        async with asyncio.timeout(EVENT_S):
            while not await condition():  # noqa: ASYNC110 - other processes set no event
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise AssertionError(f"not within {EVENT_S} s: {what}") from None


def _counted(records: Iterable[Record]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for record in records:
        counted[record.code or record.kind] += record.count
    return counted


async def by_each_worker(
    connection: GatewayConnection, make: Callable[[], Sent], workers: int = 2
) -> list[Answer]:
    """Ask until every worker has answered; all answers, each to its own question."""
    answers: list[Answer] = []
    for _ in range(MAX_TRIES):
        answers.append(await exchange(connection, make()))
        if len({answer.reply.header.worker for answer in answers}) >= workers:
            return answers
    raise AssertionError(f"{MAX_TRIES} commands did not reach {workers} workers")


async def refused_by_each_worker(
    connection: GatewayConnection, sent: Sent, *, workers: int = 2, **changes: Any
) -> Counter[str]:
    """Send the same until every worker has refused it; how often each code was the answer."""
    seen: set[str] = set()
    codes: Counter[str] = Counter()
    for _ in range(MAX_TRIES):
        reply = await ask(connection, sent, **changes)
        codes[code_of(reply)] += 1
        seen.add(worker_of(reply.data))
        if len(seen) >= workers:
            return codes
    raise AssertionError(f"{MAX_TRIES} messages did not reach {workers} workers: {codes}")


def code_of(reply: Msg) -> str:
    """The code of a refusal, signed or not; there must be one, and no secret beside it."""
    text = (reply.headers or {}).get("Nats-Service-Error", "")
    assert text
    assert SECRET.encode() not in reply.data
    return text.partition(":")[0]


def worker_of(data: bytes) -> str:
    """Who says to have sent this reply."""
    envelope = Envelope.split(data, max_bytes=MAX_REPLY_BYTES)
    return ReplyHeader.read(envelope.protected).worker


@asynccontextmanager
async def open_arena(world: World) -> AsyncGenerator[Arena]:
    """Furnish a running gateway with what there is to steal."""
    auditor = await connect_as(world.furnished, "auditor", world.gateway.url)
    administrator = await connect_as(world.furnished, "administrator", world.gateway.url)
    try:
        async with world.client(OPERATOR) as operator, world.connection(BYSTANDER) as bystander:
            for name in (VAULT, NOTES, SCRATCH, "fc_decisions"):
                await operator.create_collection(name)
            for number in range(3):
                body = {"_key": f"v{number}", "owner": VICTIM, "secret": SECRET}
                await operator.collection(VAULT).insert(body)
                await operator.collection(NOTES).insert(body | {"token": SECRET})
            reader = await _reader(auditor)
            yield Arena(world, operator, bystander, administrator, reader)
    finally:
        await auditor.close()
        await administrator.close()


async def _reader(auditor: GatewayConnection) -> JetStreamContext.PullSubscription:
    stream = auditor.jetstream(prefix=AUDITOR_PREFIX)
    config = ConsumerConfig(
        name="arena", ack_policy=AckPolicy.NONE, mem_storage=True, inactive_threshold=IDLE_S
    )
    await stream.add_consumer(AUDIT, config)
    return await stream.pull_subscribe_bind(consumer="arena", stream=AUDIT)
