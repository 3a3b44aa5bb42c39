"""A client written from `docs/wire.md` alone: msgpack, Ed25519, SHA-256, base64 and JSON.

Nothing of this repository is imported; the vectors are files. What works here works in any
language.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
from pathlib import Path
from typing import Any

import msgpack
import pytest
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

VECTORS = Path(__file__).parents[1] / "vectors"
READS = {"get", "find", "list-collections"}
LEEWAY_S = 30


class NoAnswerError(Exception):
    """What came is not an answer to this command; `check` names what found it out."""

    def __init__(self, check: str) -> None:
        super().__init__(check)
        self.check = check


def b64url(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    """The bytes that base64url without padding spells."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def thumbprint(public: bytes) -> str:
    """The key id of a public key."""
    jwk = '{"crv":"Ed25519","kty":"OKP","x":"' + b64url(public) + '"}'
    return b64url(hashlib.sha256(jwk.encode()).digest())


def len4(*parts: bytes) -> bytes:
    """Each part behind its length."""
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


class Client:
    """Makes commands and checks replies in the name of one principal."""

    def __init__(self, principal: str, seed: bytes, token: bytes, trust: dict[str, Any]) -> None:
        self.principal, self.key, self.token = principal, SigningKey(seed), token
        self.issuers = {
            name: {thumbprint(unb64url(jwk["x"])): unb64url(jwk["x"]) for jwk in jwks["keys"]}
            for name, jwks in trust["issuers"].items()
        }

    def command(
        self, target: tuple[str, str, str], arguments: dict[str, Any], sending: dict[str, Any]
    ) -> tuple[str, bytes, bytes]:
        """The subject, the message, and the hash that the reply must carry.

        `target` is database, collection and operation; `sending` is `id`, `iat`, `exp`, `budget`,
        `attempt` and `idem` of this transmission, and of a durable job `run_at` and `order`.
        """
        database, collection, operation = target
        terms = ("run_at", "order")
        job: dict[str, Any] = {name: sending[name] for name in terms if name in sending}
        channel = "job" if job else "cmd"
        subject = f"mallku.v1.{channel}.{self.principal}.{database}.{collection}.{operation}"
        if job.get("order"):
            subject += ".key." + hashlib.sha256(job["order"].encode()).hexdigest()[:32]
        elif job.get("run_at"):
            subject += ".at"
        header: dict[str, Any] = {
            "v": 1,
            "kid": thumbprint(bytes(self.key.verify_key)),
            **{name: sending[name] for name in ("id", "iat", "exp", "budget", "attempt")},
            "op": operation,
            "db": database,
            "col": collection,
            "idem": sending["idem"],
            "reply": f"_INBOX_mallku.{self.principal}",
            "ath": hashlib.sha256(self.token).digest(),
            **job,
        }
        protected, body = msgpack.packb(header), msgpack.packb(arguments)
        signed = b"mallku-command-v1" + len4(subject.encode(), protected, body)
        signature = self.key.sign(signed).signature
        message = msgpack.packb([protected, body, signature, self.token])
        return subject, message, hashlib.sha256(signed).digest()

    def answer(self, message: bytes, asked: bytes, operation: str, now_s: float) -> Any:
        """What the reply says, or `NoAnswerError`."""
        protected, body, signature, token = msgpack.unpackb(message)
        header = msgpack.unpackb(protected)
        if header["v"] != 1 or header["cmd"] != asked:
            raise NoAnswerError("cmd")
        if not signature:
            if operation not in READS:
                raise NoAnswerError("signature")
            return msgpack.unpackb(body)
        if header["ath"] != hashlib.sha256(token).digest():
            raise NoAnswerError("token")
        public = self.confirmed_key(token, "mallku-reply", now_s)
        try:
            VerifyKey(public).verify(b"mallku-reply-v1" + len4(protected, body), signature)
        except BadSignatureError:
            raise NoAnswerError("signature") from None
        if header["kid"] != thumbprint(public):
            raise NoAnswerError("signature")
        return msgpack.unpackb(body)

    def confirmed_key(self, token: bytes, audience: str, now_s: float) -> bytes:
        """Validate a token; the key that must have signed."""
        text = token.decode("ascii")
        if len(token) > 8192 or not re.fullmatch(r"([\w-]+\.){2}[\w-]{85}[AQgw]", text, re.ASCII):
            raise NoAnswerError("token")
        signed, _, signature = text.rpartition(".")
        head, claims = (json.loads(unb64url(part)) for part in signed.split("."))
        keys = [public for keys in self.issuers.values() if (public := keys.get(head["kid"]))]
        if head.keys() - {"alg", "kid", "typ"} or head["alg"] != "EdDSA" or not keys:
            raise NoAnswerError("token")
        try:
            VerifyKey(keys[0]).verify(signed.encode(), unb64url(signature))
        except BadSignatureError:
            raise NoAnswerError("token") from None
        fresh = claims["iat"] - LEEWAY_S <= now_s < claims["exp"] + LEEWAY_S
        owned = head["kid"] in self.issuers.get(claims["iss"], {})
        if claims["aud"] != audience or not fresh or not owned:
            raise NoAnswerError("token")
        return unb64url(claims["cnf"]["jwk"]["x"])


def load(name: str) -> dict[str, Any]:
    """A file of vectors."""
    value: dict[str, Any] = json.loads((VECTORS / name).read_text("utf-8"))
    return value


def named(name: str, case: str) -> dict[str, Any]:
    """One case of a file."""
    return next(entry for entry in load(name)["cases"] if entry["name"] == case)


def shown(value: Any) -> Any:
    """A value as the vectors write it: byte strings as `{"hex": …}`."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    return [shown(item) for item in value] if isinstance(value, list) else value


CLIENT = Client(
    "mallku",
    bytes.fromhex(named("keys.json", "caller")["seed"]),
    named("tokens.json", "caller")["jwt"].encode(),
    load("tokens.json")["trust"],
)
NOW_S = load("tokens.json")["now_s"]
COMMANDS = load("commands.json")["cases"]
REPLIES = [case for case in load("replies.json")["cases"] if case["command"]]
REFUSED = load("replies.json")["refused"]


@pytest.mark.parametrize("case", COMMANDS, ids=lambda case: case["name"])
def test_it_writes_the_same_commands(case: dict[str, Any]) -> None:
    """From arguments and times alone it makes every command to the byte."""
    head = case["header"]
    target = (head["db"], head["col"], head["op"])
    subject, message, asked = CLIENT.command(target, case["arguments"], head)
    assert subject == case["subject"]
    assert message.hex() == case["message"]
    assert asked.hex() == case["hash"]


@pytest.mark.parametrize("case", REPLIES, ids=lambda case: case["name"])
def test_it_believes_the_same_replies(case: dict[str, Any]) -> None:
    """It verifies every good reply and reads in it what the vector says."""
    command = named("commands.json", case["command"])
    operation, asked = command["header"]["op"], bytes.fromhex(command["hash"])
    answer = CLIENT.answer(bytes.fromhex(case["message"]), asked, operation, NOW_S)
    assert shown(answer) == case["reply"]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["name"])
def test_it_refuses_the_same_replies(case: dict[str, Any]) -> None:
    """It takes no bad reply for an answer, and finds it out by the check that the vector names."""
    command = named("commands.json", case["command"])
    operation, asked = command["header"]["op"], bytes.fromhex(command["hash"])
    with pytest.raises(NoAnswerError) as refused:
        CLIENT.answer(bytes.fromhex(case["message"]), asked, operation, NOW_S)
    assert refused.value.check == case["check"]


def test_it_knows_the_same_keys() -> None:
    """Seed, public key and key id belong together as the page says."""
    for case in load("keys.json")["cases"]:
        public = bytes(SigningKey(bytes.fromhex(case["seed"])).verify_key)
        pem = base64.b64decode("".join(case["pem"].splitlines()[1:-1]))
        assert (public.hex(), thumbprint(public)) == (case["public"], case["kid"])
        assert pem.hex() == "302e020100300506032b657004220420" + case["seed"]


def test_it_can_check_a_recorded_command() -> None:
    """The audit trail's intent holds all that was signed, and its hash is plain SHA-256."""
    case = named("records.json", "intent")
    data = bytes.fromhex(case["message"])
    record = msgpack.unpackb(data)
    protected, body, signature, public = record["command"]
    signed = b"mallku-command-v1" + len4(record["subject"].encode(), protected, body)
    assert VerifyKey(public).verify(signed, signature) == signed
    assert thumbprint(public) == record["kid"]
    assert hashlib.sha256(data).hexdigest() == case["hash"]


def test_it_imports_nothing_of_ours() -> None:
    """This file is the proof only as long as it stands alone."""
    assert not re.search(r"^(from|import) (mallku|tests)", Path(__file__).read_text(), re.MULTILINE)
