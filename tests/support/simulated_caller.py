"""A caller who speaks the true wire, and every lie that a test wants told."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from mallku_contracts import codec
from mallku_contracts.envelope import (
    CommandHeader,
    Envelope,
    Reply,
    command_hash,
    seal_command,
    token_hash,
)
from mallku_contracts.errors import MallkuError, from_wire
from mallku_contracts.identifiers import uuid7
from mallku_contracts.keys import SigningKey
from mallku_contracts.subjects import CommandSubject, inbox_prefix
from mallku_contracts.tokens import COMMAND_AUDIENCE, Identity, issue_token

ISSUER = "https://issuer.test"
ISSUER_KEY = SigningKey(b"i" * 32)


def now_ms() -> int:
    """The wall clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


def make_token(
    key: SigningKey,
    *,
    principal: str,
    roles: frozenset[str] = frozenset(),
    audience: str = COMMAND_AUDIENCE,
    issuer: str = ISSUER,
    issuer_key: SigningKey = ISSUER_KEY,
    issued_s: float | None = None,
    life_s: int = 3_600,
) -> bytes:
    """A token for `key`, by default from the trusted issuer and from now on."""
    begin = int(time.time() if issued_s is None else issued_s)
    identity = Identity(
        issuer=issuer,
        audience=audience,
        principal=principal,
        roles=roles,
        issued_at=begin,
        expires_at=begin + life_s,
        token_id=uuid7(begin * 1_000),
        key=key.public,
    )
    return issue_token(identity, issuer_key).encode()


@dataclass(frozen=True)
class Sent:
    """One transmission, and where its reply is asked for."""

    subject: CommandSubject
    header: CommandHeader
    body: bytes
    data: bytes
    reply: str

    @property
    def hash(self) -> bytes:
        """What the reply has to carry."""
        return command_hash(str(self.subject), self.header.pack(), self.body)

    @property
    def envelope(self) -> Envelope:
        """The four parts."""
        return Envelope.split(self.data)


@dataclass
class SimulatedCaller:
    """A principal with a key and a token."""

    principal: str
    key: SigningKey
    token: bytes
    database: str = "mallku"
    calls: int = field(default=0)

    @classmethod
    def of(cls, principal: str, *roles: str) -> SimulatedCaller:
        """A caller whose token is good for an hour."""
        key = SigningKey(principal.encode().ljust(32, b"."))
        return cls(principal, key, make_token(key, principal=principal, roles=frozenset(roles)))

    def seal(
        self,
        operation: str,
        arguments: object,
        collection: str | None = "memory_anchors",
        *,
        token: bytes | None = None,
        key: SigningKey | None = None,
        subject: CommandSubject | None = None,
        **header: Any,
    ) -> Sent:
        """Sign a command; `header` overrules fields of the protected part."""
        self.calls += 1
        if subject is None:
            subject = CommandSubject.build(self.principal, self.database, collection, operation)
        sent_token, signer = token or self.token, key or self.key
        now, command_id = now_ms(), header.pop("id", None) or uuid7(now_ms())
        fields: dict[str, Any] = {
            "v": 1,
            "kid": signer.kid,
            "id": command_id,
            "iat": now,
            "exp": now + 10_000,
            "budget": 10_000,
            "attempt": 1,
            "op": operation,
            "db": self.database,
            "col": subject.collection,
            "idem": command_id,
            "reply": inbox_prefix(self.principal),
            "ath": token_hash(sent_token),
        }
        protected = CommandHeader(**(fields | header))
        body = arguments if isinstance(arguments, bytes) else codec.pack_trusted(arguments)
        data = seal_command(subject, protected, body, signer, sent_token)
        inbox = f"{inbox_prefix(self.principal)}.box.{self.calls}"
        return Sent(subject, protected, body, data, inbox)

    def ask_page(self, cursor: dict[str, str], page: int, **header: Any) -> Sent:
        """Sign a question for a page of the cursor that an answer to `aql` named."""
        subject = CommandSubject.of_cursor(self.principal, self.database, cursor["worker"])
        arguments = {"cursor": cursor["id"], "page": page}
        return self.seal("next", arguments, subject=subject, **header)

    def again(self, sent: Sent, **header: Any) -> Sent:
        """A retry: a new transmission of the same command, signed anew."""
        fields: dict[str, Any] = {
            "idem": sent.header.idem,
            "attempt": sent.header.attempt + 1,
        } | header
        return self.seal(sent.subject.operation, sent.body, subject=sent.subject, **fields)


@dataclass(frozen=True)
class Answer:
    """What a reply says, once it was found to answer the command."""

    reply: Reply
    body: dict[str, Any]

    @property
    def result(self) -> Any:
        """The result; the error is raised where there is one."""
        if "error" in self.body:
            raise self.error
        return self.body["result"]

    @property
    def error(self) -> MallkuError:
        """The error."""
        return from_wire(self.body["error"])


def read_answer(data: bytes, sent: Sent) -> Answer:
    """Open a reply to `sent`."""
    reply = Reply.open(data, expected_command=sent.hash)
    return Answer(reply, codec.unpack(reply.envelope.body, allow_bytes=True))
