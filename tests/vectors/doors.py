"""Commands that a door signs, each with the proof that its caller asked for it."""

from __future__ import annotations

from typing import Any, Final

from mallku_contracts.canonical import canonical
from mallku_contracts.dpop import Asked, Evidence, Proof, make_proof
from mallku_contracts.envelope import CommandHeader, seal_command, token_hash
from mallku_contracts.keys import SigningKey
from mallku_contracts.subjects import CommandSubject
from tests.vectors.world import CALLER_TOKEN, KEYS, NOW_MS, NOW_S, header, packed, shown, token

DOOR_KEY: Final = SigningKey(bytes([9]) * 32)
DOOR_TOKEN: Final = token(principal="door", token_id="token-door", key=DOOR_KEY.public)
ORIGIN: Final = "https://door.example"
DOCUMENTS: Final = "/api/v1/collections/memory_anchors/documents"

INSERT: Final = CommandSubject.build("mallku", "main", "memory_anchors", "insert")
GET: Final = CommandSubject.build("mallku", "main", "memory_anchors", "get")
DOCUMENT: Final = {"document": {"weight": 2.5, "kind": "khipu", "tags": ["ñan", None], "big": 1e21}}

CASES: Final[tuple[tuple[str, CommandSubject, dict[str, Any], str, str, str, int], ...]] = (
    ("insert, all of it in the claim", INSERT, DOCUMENT, "", "POST", DOCUMENTS, 1),
    ("the same, tried again", INSERT, DOCUMENT, "", "POST", DOCUMENTS, 2),
    ("insert, with a key of the caller's own", INSERT, DOCUMENT, "mine", "POST", DOCUMENTS, 1),
    ("get, said by method and path", GET, {"document": "a1"}, "", "GET", f"{DOCUMENTS}/a1", 1),
)


def vectors() -> dict[str, Any]:
    """Every carried command with its parts."""
    return {
        "about": "Commands of `mallku` that `door` signed; each is accepted at `now_ms` where the"
        " policy has the door at `origin` with the database `main` behind it.",
        "now_ms": NOW_MS,
        "origin": ORIGIN,
        "door": {"seed": DOOR_KEY.seed.hex(), "token": DOOR_TOKEN.decode()},
        "cases": [_case(*case) for case in CASES],
    }


def _case(  # noqa: PLR0917 - a row of the table
    name: str,
    subject: CommandSubject,
    arguments: dict[str, Any],
    key: str,
    method: str,
    path: str,
    attempt: int,
) -> dict[str, Any]:
    asked = Asked(subject.operation, "main", subject.collection, arguments, key)
    claim = None if asked.plain_request() == (method, path) else asked.digest()
    text = make_proof(
        KEYS["caller"],
        CALLER_TOKEN,
        method=method,
        url=ORIGIN + path,
        now_s=NOW_S,
        token_id=f"proof-{key or 'one'}",
        command=claim,
    )
    proof = Proof.verify(text, token=CALLER_TOKEN, key=KEYS["caller"].public)
    evidence = Evidence(DOOR_TOKEN, CALLER_TOKEN, text).join()
    head = _header(subject, proof, evidence, key, attempt)
    body = packed(arguments)
    message = seal_command(subject, head, body, DOOR_KEY, evidence)
    return {
        "name": name,
        "subject": str(subject),
        "method": method,
        "url": ORIGIN + path,
        "asked": canonical(asked.said()).decode(),
        "cmd": claim,
        "proof": text.decode(),
        "proof_digest": proof.digest.hex(),
        "attempt": attempt,
        "id": head.id,
        "protected": shown(head.pack()),
        "token": evidence.decode(),
        "message": message.hex(),
    }


def _header(
    subject: CommandSubject, proof: Proof, evidence: bytes, key: str, attempt: int
) -> CommandHeader:
    return header(
        subject,
        kid=DOOR_KEY.kid,
        id=proof.command_id(attempt),
        idem=key or proof.command_id(1),
        attempt=attempt,
        ath=token_hash(evidence),
    )
