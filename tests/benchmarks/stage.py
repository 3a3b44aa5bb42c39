"""Everything that is measured, running at once on this machine: houses, echoes and peers."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from asyncio import create_subprocess_exec
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mallku_broker.child import dies_with_parent
from mallku_broker.server import find_server
from mallku_client.clock import Clock
from mallku_client.identity import ClientIdentity
from mallku_client.signer import Command, Signer
from mallku_contracts import codec
from mallku_contracts.keys import SEED_BYTES, SigningKey
from mallku_contracts.subjects import CommandSubject
from mallku_deploy.bench.calls import document
from mallku_deploy.bench.policy import lift_limits
from mallku_deploy.events import Event
from mallku_deploy.furnish import furnish
from mallku_deploy.gateway import LocalGateway
from mallku_deploy.house import DATABASE, House
from tests.benchmarks.children import Child, server
from tests.benchmarks.loads.gateway import COLLECTION
from tests.benchmarks.peer.identity import AUDIENCE

PRINCIPAL: Final = "mallku"
LOOPS: Final = ("asyncio", "uvloop") if find_spec("uvloop") else ("asyncio",)
TOKEN_LIFE_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class HouseOnStage:
    """A gateway with one worker, and what a caller needs to reach it."""

    gateway: LocalGateway
    house: House
    signs_reads: bool

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a caller."""
        required = {"MALLKU_REQUIRE_SIGNED_READS": str(self.signs_reads).lower()}
        return self.house.environment(PRINCIPAL, self.gateway.url) | required

    def processes(self) -> dict[str, list[int]]:
        """Whom to charge with CPU."""
        pids = self.gateway.pids
        workers = [pid for name, pid in pids.items() if name.startswith("worker")]
        return {"worker": workers, "nats-server": [pids["nats-server"]]}


@dataclass(frozen=True, slots=True)
class PeerOnStage:
    """A peer's process and port, and a token it believes."""

    child: Child
    port: int
    token: str

    def processes(self) -> dict[str, list[int]]:
        """Whom to charge with CPU."""
        return {"worker": [self.child.pid]}


@dataclass(frozen=True, slots=True)
class EchoOnStage:
    """A bare nats-server, and an echo on each kind of loop."""

    url: str
    server_pid: int
    answerers: dict[str, Child]

    def processes(self, loop: str) -> dict[str, list[int]]:
        """Whom to charge with CPU."""
        return {"worker": [self.answerers[loop].pid], "nats-server": [self.server_pid]}


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs: two houses, which differ in whether reads are signed; echoes; two peers."""

    signed: HouseOnStage
    unsigned: HouseOnStage
    echo: EchoOnStage
    peer: PeerOnStage
    remembering_peer: PeerOnStage

    @classmethod
    @asynccontextmanager
    async def set_up(cls, directory: Path) -> AsyncGenerator[Self]:
        """Start everything below `directory`; all of it is gone at the end."""
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            signed = await enter(_house(directory / "signed", sign_reads=True))
            yield cls(
                signed=signed,
                unsigned=await enter(_house(directory / "unsigned", sign_reads=False)),
                echo=await enter(_echo()),
                peer=await enter(open_peer(signed.house, directory, remember=False)),
                remembering_peer=await enter(open_peer(signed.house, directory, remember=True)),
            )


def sealed_insert(house: House, size: int) -> bytes:
    """The bytes of an insert as the client sends it, for the echo to carry."""
    clock = Clock()
    files = house.principal(PRINCIPAL)
    signer = Signer(ClientIdentity.load(PRINCIPAL, files.key, files.token, clock), clock)
    first = signer.new_id()
    subject = CommandSubject.build(PRINCIPAL, DATABASE, COLLECTION, "insert")
    body = codec.pack({"document": document(0, size)})
    command = Command(subject, body, first, first, mutates=True)
    return signer.seal(command, attempt=1, timeout_s=10.0).payload


@asynccontextmanager
async def _house(root: Path, *, sign_reads: bool) -> AsyncGenerator[HouseOnStage]:
    house = lift_limits(House(root))
    gateway = LocalGateway(furnish(house, workers=1), port=0, announce=_say)
    with environment(MALLKU_WORKER_SIGN_READ_REPLIES=str(sign_reads).lower()):
        await gateway.__aenter__()
    try:
        yield HouseOnStage(gateway, house, sign_reads)
    finally:
        await gateway.__aexit__(None, None, None)


def _say(event: Event) -> None:
    print(event, file=sys.stderr)


@contextmanager
def environment(**values: str) -> Generator[None]:
    """Set variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@asynccontextmanager
async def _echo() -> AsyncGenerator[EchoOnStage]:
    port = _free_port()
    url = f"nats://127.0.0.1:{port}"
    command = [str(find_server()), "--addr", "127.0.0.1", "--port", str(port)]
    process = await create_subprocess_exec(*dies_with_parent(command), "--log", os.devnull)
    try:
        async with AsyncExitStack() as stack:
            answerers: dict[str, Child] = {}
            for loop in LOOPS:
                opened = server("tests.benchmarks.echo", url, loop)
                answerers[loop], _ = await stack.enter_async_context(opened)
            yield EchoOnStage(url, process.pid, answerers)
    finally:
        await _end(process)


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@asynccontextmanager
async def open_peer(
    house: House, directory: Path, *, remember: bool
) -> AsyncGenerator[PeerOnStage]:
    """A peer under the policy of `house`, with a token of its own issuer."""
    word = "yes" if remember else "no"
    key = SigningKey(secrets.token_bytes(SEED_BYTES))
    database = directory / f"peer-{word}.sqlite"
    arguments = (str(house.policy), str(database), key.public.raw.hex(), word)
    async with server("tests.benchmarks.peer", *arguments) as (child, port):
        yield PeerOnStage(child, int(port), _peer_token(key))


def _peer_token(key: SigningKey) -> str:
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": "peer",
        "aud": AUDIENCE,
        "sub": PRINCIPAL,
        "roles": ["service"],
        "iat": now,
        "exp": now + TOKEN_LIFE_S,
    }
    private = Ed25519PrivateKey.from_private_bytes(key.seed)
    return jwt.encode(claims, private, algorithm="EdDSA", headers={"kid": key.kid})
