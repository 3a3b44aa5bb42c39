"""A gateway with a door in its policy, and whatever a door needs to stand in front of it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from mallku_broker.connection import ConnectionSettings, connect
from mallku_broker.files import load_signing_key, load_token, write_private_text
from mallku_broker.trust import TrustFile
from mallku_client import SecuredDatabaseInterface
from mallku_client.caller import Caller
from mallku_client.clock import Clock
from mallku_client.composition import Connection, load_identity
from mallku_client.http.carrying import CarriedCommands, DoorTransport, Prove
from mallku_client.http.serving import serving
from mallku_client.http.settings import DoorSettings
from mallku_client.retries import RetryPolicy
from mallku_client.signer import Carried
from mallku_client.verifier import Verifier
from mallku_contracts.dpop import Asked, Proof, make_proof
from mallku_contracts.identifiers import uuid7
from mallku_contracts.keys import SigningKey
from mallku_contracts.subjects import inbox_prefix
from tests.integration.world import World, running_world

DOOR = "http_door"
NARROW_DOOR = "narrow_door"
ORIGIN = "http://127.0.0.1:8080"
POLICY = f"""
version: 1
roles:
  service:
    rules:
      - {{id: documents, collections: ["*"], operations: [read, write]}}
      - {{id: shapes, collections: ["*"], operations: [create-collection, create-index]}}
  operator:
    rules: [{{id: everything, collections: ["*"], operations: [read, write, admin]}}]
  own:
    rules:
      - id: own
        collections: [notes]
        operations: [read, write]
        where: {{owner: $principal}}
        set: {{owner: $principal}}
        hide: [secret]
      - {{id: names, collections: ["@"], operations: [list-collections]}}
  carrying:
    rules:
      - id: most
        collections: ["*"]
        operations: [read, write, create-collection, drop-collection, create-index, drop-index]
  notes_alone:
    rules:
      - {{id: notes, collections: [notes], operations: [read, write]}}
      - {{id: told, collections: ["@"], operations: [outcome, list-collections]}}
principals:
  mallku: {{roles: [service]}}
  operator: {{roles: [operator]}}
  alice: {{roles: [own]}}
  outsider: {{roles: [operator]}}
  {DOOR}:
    kind: door
    roles: [carrying]
    acts_for: [mallku, alice, operator]
    origins: {{"{ORIGIN}": mallku}}
  {NARROW_DOOR}:
    kind: door
    roles: [notes_alone]
    acts_for: [mallku]
    origins: {{"{ORIGIN}": mallku}}
  other_door:
    kind: door
    roles: [carrying]
    acts_for: [alice]
    origins: {{"http://other.example": mallku}}
  auditor: {{kind: auditor}}
  administrator: {{kind: administrator}}
"""


@dataclass
class Holder:
    """Somebody with a key and a token, who makes proofs of any kind."""

    principal: str
    key: SigningKey
    token: bytes

    @classmethod
    def of(cls, world: World, principal: str) -> Holder:
        """With the files that the house has for them."""
        files = world.house.principal(principal)
        return cls(principal, load_signing_key(files.key), load_token(files.token).encode())

    def proof(self, method: str = "POST", path: str = "/api/v1/commands", **changes: Any) -> bytes:
        """A proof for one request, made now, at the door's origin."""
        fields: dict[str, Any] = {
            "method": method,
            "url": changes.pop("origin", ORIGIN) + path,
            "now_s": int(time.time()),
            "token_id": uuid7(time.time_ns() // 1_000_000),
        }
        return make_proof(self.key, self.token, **(fields | changes))

    def prove(self, asked: Asked) -> Carried:
        """As a door's `Prove`: a proof of exactly what is asked."""
        return self.carried(self.proof(command=asked.digest()))

    def carried(self, proof: bytes) -> Carried:
        """What a door shows of this proof, whether it holds or not."""
        return Carried(
            self.token, proof, Proof.verify(proof, token=self.token, key=self.key.public)
        )


@asynccontextmanager
async def open_door(world: World, door: str = DOOR) -> AsyncGenerator[DoorTransport]:
    """A door's connection to the broker."""
    settings = ConnectionSettings(
        url=world.gateway.url, credentials=world.house.principal(door).credentials
    )
    connection = await connect(settings, name=door, inbox_prefix=inbox_prefix(door))
    transport = DoorTransport(connection, door)
    try:
        yield transport
    finally:
        await transport.close()


def through(
    world: World,
    transport: DoorTransport,
    principal: str,
    prove: Prove,
    *,
    door: str = DOOR,
    attempts: int = 5,
) -> SecuredDatabaseInterface:
    """The ordinary client, carried by a door for `principal`."""
    settings = world.client_settings(door)
    clock = Clock()
    caller = Caller(
        transport,
        load_identity(settings, clock),
        Verifier(TrustFile(world.house.trust, print), clock, require_signed_reads=True),
        clock,
        policy=RetryPolicy(max_attempts=attempts),
    )
    commands = CarriedCommands(caller, principal, "mallku", 5.0, prove)
    return SecuredDatabaseInterface(Connection(commands, settings))


@asynccontextmanager
async def door_world(folder: Path, workers: int = 2) -> AsyncGenerator[World]:
    """A gateway under the policy above, with a collection for everybody."""
    async with running_world(folder, workers, policy=POLICY) as world:
        async with world.client("operator") as db:
            for name in ("notes", "memory_anchors"):
                await db.create_collection(name)
        yield world


SECRET = "a-secret-of-at-least-thirty-two-characters"


def write_services(world: World, folder: Path, **secrets: str) -> Path:
    """A services file: each principal's own key, for whoever shows the secret."""
    listed = {
        name: {
            "secret_sha256": hashlib.sha256(secret.encode()).hexdigest(),
            "key_file": str(world.house.principal(name).key),
            "token_file": str(world.house.principal(name).token),
        }
        for name, secret in secrets.items()
    }
    path = folder / "services.json"
    write_private_text(path, json.dumps(listed))
    return path


@asynccontextmanager
async def served(world: World, folder: Path, **changes: Any) -> AsyncGenerator[str]:
    """A door that serves on a free port; gives its URL."""
    services = write_services(world, folder, mallku=SECRET, alice=f"{SECRET}-of-alice")
    settings = DoorSettings(port=0, origin=ORIGIN, services_file=services, **changes)
    async with serving(world.client_settings(DOOR), settings) as url:
        yield url


@asynccontextmanager
async def visitor(url: str, secret: str | None = SECRET) -> AsyncGenerator[httpx.AsyncClient]:
    """Somebody who speaks HTTP, with a secret or without."""
    headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=10.0) as client:
        yield client
