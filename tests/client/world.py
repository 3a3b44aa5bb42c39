"""A gateway in memory that speaks the real wire, and the files of a client that may use it.

It opens, verifies, executes and signs with the contracts, so that nothing of the wire is made up
here; tests bend single answers through `script`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mallku_client import ClientSettings, MemoryTransport, SecuredDatabaseInterface
from mallku_contracts import codec
from mallku_contracts.envelope import (
    CommandHeader,
    Envelope,
    ReplyHeader,
    command_hash,
    command_signing_input,
    seal_reply,
    token_hash,
)
from mallku_contracts.errors import DocumentNotFound, MallkuError, NotSupported, UniqueViolation
from mallku_contracts.identifiers import uuid7
from mallku_contracts.keys import SigningKey
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.tokens import (
    COMMAND_AUDIENCE,
    REPLY_AUDIENCE,
    Identity,
    issue_token,
    verify_token,
)
from mallku_contracts.trust import Trust

ISSUER = "https://issuer.test"
PRINCIPAL = "mallku"


@dataclass(frozen=True)
class Opened:
    """A command that was verified."""

    subject: CommandSubject
    header: CommandHeader
    body: dict[str, Any]
    raw_body: bytes
    hash: bytes


Step = Callable[["MemoryGateway", Opened], Awaitable[bytes | None]]
"""Takes a verified command; returns a reply's bytes, or None for silence."""


@dataclass
class Keys:
    """The issuer's, the worker's and the client's keys; `token` makes tokens for them."""

    issuer: SigningKey = field(default_factory=lambda: SigningKey(b"i" * 32))
    worker: SigningKey = field(default_factory=lambda: SigningKey(b"w" * 32))
    client: SigningKey = field(default_factory=lambda: SigningKey(b"c" * 32))

    @property
    def trust(self) -> Trust:
        """Trust in the issuer."""
        return Trust.of(ISSUER, self.issuer.public)

    def token(
        self,
        key: SigningKey,
        *,
        audience: str,
        principal: str = PRINCIPAL,
        issuer_key: SigningKey | None = None,
        issued_at: float | None = None,
        life_s: int = 3_600,
    ) -> str:
        """A token for `key`, by default from the trusted issuer and from now on."""
        begin = int(time.time() if issued_at is None else issued_at)
        identity = Identity(
            issuer=ISSUER,
            audience=audience,
            principal=principal,
            roles=frozenset({"service"}),
            issued_at=begin,
            expires_at=begin + life_s,
            token_id=uuid7(begin * 1000),
            key=key.public,
        )
        return issue_token(identity, issuer_key or self.issuer)


class MemoryGateway:
    """Collections of documents behind the wire; `seen` holds every verified command, in order."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.worker_token = keys.token(keys.worker, audience=REPLY_AUDIENCE, principal="worker")
        self.seen: list[Opened] = []
        self.collections: dict[str, dict[str, dict[str, Any]]] = {}
        self.script: list[Step] = []
        self.clock_ms: Callable[[], int] = lambda: int(time.time() * 1000)

    async def handle(self, subject: str, payload: bytes) -> bytes | None:
        """Verify a command, then let the script's next step answer, or the store."""
        command = self.open(subject, payload)
        self.seen.append(command)
        if self.script:
            return await self.script.pop(0)(self, command)
        return self.execute(command)

    def open(self, subject: str, payload: bytes) -> Opened:
        """What a worker's steps 2 and 3 do; an `AssertionError` or a coded error ends the test."""
        envelope = Envelope.split(payload)
        header = CommandHeader.read(envelope.protected)
        parsed = CommandSubject.parse(subject)
        header.check_subject(parsed)
        assert header.ath == token_hash(envelope.token)
        identity = verify_token(
            envelope.token,
            self.keys.trust,
            audience=COMMAND_AUDIENCE,
            now_s=time.time(),
            leeway_s=30,
        )
        signed = command_signing_input(subject, envelope.protected, envelope.body)
        assert identity.principal == parsed.principal
        assert header.kid == identity.key.kid
        assert identity.key.verify(signed, envelope.signature)
        body = codec.unpack(envelope.body)
        digest = command_hash(subject, envelope.protected, envelope.body)
        return Opened(parsed, header, body, envelope.body, digest)

    def execute(self, command: Opened) -> bytes:
        """Have the small store do it, and sign what it says."""
        try:
            result = self._store(command)
        except MallkuError as error:
            return self.reply(command, {"error": error.to_wire()})
        receipt = {"stream": "MALLKU_AUDIT", "sequence": len(self.seen), "hash": b"h" * 32}
        return self.reply(command, {"result": result, "receipt": receipt})

    def reply(self, command: Opened, body: object, **changes: Any) -> bytes:
        """A signed reply to `command`.

        Args:
            changes: `signed=False`, `cmd=`, `time=`, `key=`, `token=` instead of the true ones.
        """
        token = changes.get("token", self.worker_token).encode()
        signed = changes.get("signed", True)
        key = changes.get("key", self.keys.worker)
        header = ReplyHeader(
            v=1,
            kid=key.kid,
            id=command.header.id,
            cmd=changes.get("cmd", command.hash),
            time=changes.get("time", self.clock_ms()),
            worker="worker-1",
            ath=token_hash(token),
        )
        packed = body if isinstance(body, bytes) else codec.pack_trusted(body)
        return seal_reply(header, packed, key if signed else None, token)

    def _store(self, command: Opened) -> Any:  # noqa: PLR0911  # one line for each operation
        name, body = command.subject.collection, command.body
        documents = self.collections.setdefault(name, {})
        match command.subject.operation:
            case "insert":
                return _insert(name, documents, body["document"])
            case "insert-many":
                return [_entry(name, documents, document) for document in body["documents"]]
            case "get":
                return documents.get(body["document"])
            case "exists":
                return body["document"] in documents
            case "delete":
                if documents.pop(body["document"], None) is None:
                    raise DocumentNotFound(f"{body['document']}: no such document")
                return {"_key": body["document"]}
            case "count":
                return len(documents)
            case "find":
                return _page(documents, body)
            case operation:
                raise NotSupported(f"{operation} is not supported")


def _insert(name: str, documents: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    key = document.get("_key", str(len(documents)))
    if key in documents:
        raise UniqueViolation(f"{key}: the key is taken")
    meta = {"_id": f"{name}/{key}", "_key": key, "_rev": "_r"}
    documents[key] = document | meta
    return meta


def _entry(name: str, documents: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    try:
        return _insert(name, documents, document)
    except UniqueViolation as error:
        return {"error": error.to_wire()}


def _page(documents: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    filters, after = body.get("filters", {}), body.get("after")
    fitting = [
        documents[key]
        for key in sorted(documents)
        if filters.items() <= documents[key].items() and (after is None or key > after)
    ]
    begin, size = body.get("skip", 0), min(body.get("batch_size", 1000), body.get("limit", 1000))
    page = fitting[begin : begin + size]
    more = len(fitting) > begin + size
    continues = more and not body.get("sort")
    return {
        "documents": page,
        "more": more,
        "after": page[-1]["_key"] if continues and page else None,
    }


@dataclass
class World:
    """A gateway, and a client's files in a folder."""

    gateway: MemoryGateway
    settings: ClientSettings
    folder: Path

    @property
    def keys(self) -> Keys:
        """All keys."""
        return self.gateway.keys

    @property
    def transport(self) -> MemoryTransport:
        """A way to the gateway."""
        return MemoryTransport(self.gateway.handle)

    def write_token(self, token: str) -> None:
        """Put a token where the client looks for it."""
        (self.folder / "token.jwt").write_text(token)

    async def connect(self, **changes: Any) -> SecuredDatabaseInterface:
        """A connected client; `changes` are fields of `ClientSettings`."""
        settings = self.settings.override(**changes)
        return await SecuredDatabaseInterface.connect(settings=settings, transport=self.transport)


def make_world(folder: Path) -> World:
    """Keys, a token, a trust file and a gateway that believes them."""
    keys = Keys()
    key_file, token_file, trust_file = folder / "key.pem", folder / "token.jwt", folder / "trust"
    key_file.write_text(keys.client.to_pem())
    key_file.chmod(0o600)
    token_file.write_text(keys.token(keys.client, audience=COMMAND_AUDIENCE))
    trust_file.write_text(keys.trust.to_json())
    settings = ClientSettings(
        principal=PRINCIPAL, key_file=key_file, token_file=token_file, trust_file=trust_file
    )
    return World(MemoryGateway(keys), settings, folder)
