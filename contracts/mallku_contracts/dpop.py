"""Proofs of possession over HTTP (RFC 9449), and what of a command they cover.

A caller who speaks HTTP cannot sign the command that a worker carries out; a door signs it. So that
the door cannot ask for anything on its own, its command brings the caller's token and a proof that
the caller's key signed: a JWT of type `dpop+jwt` about one request. Workers check it themselves.

A proof covers a command in one of two ways. With the claim `cmd` it covers all of it: the claim is
the hash of operation, database, collection, arguments and idempotency key. Without it, it covers
method and path, as any DPoP library makes it, and is good for commands that are nothing more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mallku_contracts import codec
from mallku_contracts.canonical import canonical, count_floats
from mallku_contracts.envelope import CommandHeader, length_prefixed
from mallku_contracts.errors import InvalidProof, MessageTooLarge
from mallku_contracts.identifiers import uuid7
from mallku_contracts.keys import KeyFormatError, PublicKey, SigningKey, base64url
from mallku_contracts.limits import (
    MAX_PROVEN_BYTES,
    MAX_PROVEN_CONTAINERS,
    MAX_PROVEN_FLOATS,
    MAX_TIME_MS,
    MAX_TOKEN_BYTES,
    MAX_TOKEN_ID_CHARS,
)
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.tokens import is_compact

API: Final = "/api/v1"
"""What the path of every request for a command begins with."""

SEPARATOR: Final = b"~"
"""Between the three texts in the token part of a door's command; no JWT holds it."""

MAX_PROOF_LIFE_S: Final = 60
"""How long after its `iat` a proof is taken, seconds."""

MAX_PROOF_ATTEMPTS: Final = 8
"""Attempts of one command that one proof is good for."""

_TYPE: Final = "dpop+jwt"
_ALGORITHM: Final = "EdDSA"
_HEADER: Final = frozenset({"typ", "alg", "jwk"})
_PROOF_CONTEXT: Final = b"mallku-proof-v1"
_ID_BITS: Final = 74
_MS_PER_S: Final = 1_000
_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """The token part of a door's command: its own token, the caller's, and the caller's proof."""

    door: bytes = field(repr=False)
    caller: bytes = field(repr=False)
    proof: bytes = field(repr=False)

    def join(self) -> bytes:
        """The token part."""
        return SEPARATOR.join((self.door, self.caller, self.proof))

    @classmethod
    def split(cls, token: bytes) -> Evidence | None:
        """Read a token part; None where it is one token, whose holder speaks for themselves.

        Raises:
            InvalidProof: it holds another number of texts.
        """
        parts = token.split(SEPARATOR)
        if len(parts) == 1:
            return None
        if len(parts) != _PARTS:
            raise InvalidProof("a door's token part has three texts: its token, theirs, a proof")
        return cls(*parts)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command asks for, as proofs say it.

    Attributes:
        collection: `@` where the operation has none.
        idempotency_key: What the caller named; empty where they named none.
        job: Of a durable job, its `run_at` and `order`; None of every other command.
    """

    operation: str
    database: str
    collection: str
    arguments: Mapping[str, Any]
    idempotency_key: str = ""
    job: Mapping[str, Any] | None = None

    def said(self) -> dict[str, Any]:
        """The command as the JSON that is hashed."""
        asked: dict[str, Any] = {
            "arguments": self.arguments,
            "collection": self.collection,
            "database": self.database,
            "idempotency_key": self.idempotency_key,
            "operation": self.operation,
        }
        if self.job is not None:
            asked["job"] = dict(self.job)
        return asked

    def digest(self) -> str:
        """What the claim `cmd` holds: SHA-256 of the canonical JSON, base64url.

        Raises:
            ValueError: JSON cannot say these arguments.
        """
        return base64url(hashlib.sha256(canonical(self.said())).digest())

    def plain_request(self) -> tuple[str, str] | None:
        """Method and path that say all of the command, where there are any."""
        if self.idempotency_key or self.job is not None:
            return None
        return _plain(self.operation, self.collection, dict(self.arguments))


def _plain(operation: str, collection: str, arguments: dict[str, Any]) -> tuple[str, str] | None:
    where = f"{API}/collections/{collection}"
    key = arguments.get("document")
    if isinstance(key, str) and arguments == {"document": key} and "/" not in key:
        method = _OF_DOCUMENTS.get(operation, "")
        return (method, f"{where}/documents/{quote(key, safe='')}") if method else None
    name = arguments.get("idempotency_key")
    if operation == "outcome" and isinstance(name, str) and len(arguments) == 1:
        return "GET", f"{API}/jobs/{quote(name, safe='')}"
    if arguments:
        return None
    method, path = _OF_NOTHING.get(operation, ("", ""))
    return (method, path.format(where=where, api=API)) if method else None


_OF_DOCUMENTS: Final = {"get": "GET", "exists": "HEAD", "delete": "DELETE"}
_OF_NOTHING: Final = {
    "find": ("GET", "{where}/documents"),
    "count": ("GET", "{where}/count"),
    "describe-collection": ("GET", "{where}"),
    "list-indexes": ("GET", "{where}/indexes"),
    "list-collections": ("GET", "{api}/collections"),
    "list-graphs": ("GET", "{api}/graphs"),
    "describe-flags": ("GET", "{api}/flags"),
}


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof whose signature held.

    Attributes:
        origin, path: Of its `htu`, the origin in lower case.
        issued_s: Its `iat`, Unix seconds.
        token_hash: Its `ath`.
        command: Its claim `cmd`; None where it has none.
        digest: SHA-256 of what was signed, 32 bytes: the proof's name.
    """

    key: PublicKey
    method: str
    origin: str
    path: str
    issued_s: int
    token_id: str
    token_hash: str
    command: str | None
    digest: bytes

    @classmethod
    def verify(cls, proof: bytes, *, token: bytes, key: PublicKey) -> Proof:
        """Believe that the holder of `key` made it for `token`, or raise.

        Raises:
            InvalidProof: naming the header or claim that is wrong.
        """
        held = cls.read(proof)
        if held.key != key:
            raise InvalidProof("the proof was made with another key than the token names")
        if held.token_hash != base64url(hashlib.sha256(token).digest()):
            raise InvalidProof("the proof's ath is not the hash of the token")
        return held

    @classmethod
    def read(cls, proof: bytes) -> Proof:
        """A proof that the key in it signed; whose key that is, is not known by that.

        Raises:
            InvalidProof: as `verify`.
        """
        text = proof.decode("ascii", "replace")
        if len(proof) > MAX_TOKEN_BYTES or not is_compact(text):
            raise InvalidProof("the proof is not a JWT in its compact form")
        key = _named_key(text)
        claims = _claims(text, key)
        signed = text.rpartition(".")[0].encode()
        digest = hashlib.sha256(_PROOF_CONTEXT + length_prefixed(signed)).digest()
        origin, path = _split_url(claims["htu"])
        return cls(
            key,
            claims["htm"],
            origin,
            path,
            claims["iat"],
            claims["jti"],
            claims["ath"],
            claims.get("cmd"),
            digest,
        )

    @property
    def ends_s(self) -> int:
        """From when on it is taken no more, Unix seconds."""
        return self.issued_s + MAX_PROOF_LIFE_S

    def check_times(self, now_s: float, leeway_s: float) -> None:
        """Raise `InvalidProof` when it is too old or from the future, `leeway_s` granted."""
        if now_s >= self.ends_s + leeway_s:
            raise InvalidProof(f"the proof was made more than {MAX_PROOF_LIFE_S} s ago")
        if now_s < self.issued_s - leeway_s:
            raise InvalidProof("the proof's iat lies in the future")

    def command_id(self, attempt: int) -> str:
        """The only transmission id that attempt number `attempt` with this proof may have.

        So what remembers ids remembers proofs: each is good for one transmission per attempt.
        """
        drawn = hashlib.sha256(self.digest + attempt.to_bytes(4)).digest()
        bits = int.from_bytes(drawn) >> (len(drawn) * 8 - _ID_BITS)
        return uuid7(self.issued_s * _MS_PER_S, bits)

    def named_key(self, idempotency_key: str) -> str:
        """The idempotency key that the caller named; empty where the first id stands for one."""
        return "" if idempotency_key == self.command_id(1) else idempotency_key

    def check_covers_command(
        self, header: CommandHeader, subject: CommandSubject, arguments: Any
    ) -> None:
        """Raise `InvalidProof` unless this proof was made for exactly this signed command."""
        asked = Asked(
            subject.operation,
            subject.database,
            subject.collection,
            arguments,
            self.named_key(header.idem),
            job={"run_at": header.run_at, "order": header.order} if header.is_job else None,
        )
        self.check_covers(asked)

    def check_covers(self, asked: Asked) -> None:
        """Raise `InvalidProof` unless this proof was made for exactly this command."""
        if self.command is not None:
            if self.command != _digest(asked):
                raise InvalidProof("the proof's cmd is not the hash of this command")
            return
        if (self.method, self.path) != asked.plain_request():
            raise InvalidProof(
                "method and path do not say all of this command; the proof needs the claim cmd"
            )


def _digest(asked: Asked) -> str:
    try:
        return asked.digest()
    except ValueError as error:
        raise InvalidProof(f"nothing can be proven of this command: {error}") from None


def unpack_proven(body: bytes) -> Any:
    """The arguments of a command that stands under a proof, so few that JSON can be made of them.

    Raises:
        MessageTooLarge: more of them than a worker spells out; with a proof or without its `cmd`.
        CodecError: as `codec.unpack`.
    """
    if len(body) > MAX_PROVEN_BYTES:
        raise _too_much(f"{MAX_PROVEN_BYTES} bytes")
    try:
        arguments = codec.unpack(body, most=MAX_PROVEN_CONTAINERS)
    except codec.TooMuchError as error:
        raise _too_much(str(error).removeprefix("more than ")) from None
    if count_floats(arguments) > MAX_PROVEN_FLOATS:
        raise _too_much(f"{MAX_PROVEN_FLOATS} numbers with a fraction or an exponent")
    return arguments


def _too_much(most: str) -> MessageTooLarge:
    return MessageTooLarge(
        f"a door carries at most {most} in one command; send several, or sign it yourself"
    )


def make_proof(  # noqa: PLR0913 - the claims
    key: SigningKey,
    token: bytes,
    *,
    method: str,
    url: str,
    now_s: int,
    token_id: str,
    command: str | None = None,
) -> bytes:
    """A proof for one request; `command` is `Asked.digest()`."""
    claims: dict[str, Any] = {
        "jti": token_id,
        "htm": method,
        "htu": url,
        "iat": now_s,
        "ath": base64url(hashlib.sha256(token).digest()),
    }
    if command is not None:
        claims["cmd"] = command
    jwk = {name: value for name, value in key.public.jwk().items() if name != "kid"}
    private = Ed25519PrivateKey.from_private_bytes(key.seed)
    headers = {"typ": _TYPE, "jwk": jwk}
    return jwt.encode(claims, private, algorithm=_ALGORITHM, headers=headers).encode()


def _named_key(text: str) -> PublicKey:
    try:
        header = jwt.get_unverified_header(text)
    except (jwt.PyJWTError, RecursionError):
        raise InvalidProof("the proof is not a JWT") from None
    if header.get("alg") != _ALGORITHM or header.get("typ") != _TYPE:
        raise InvalidProof(f"the proof's typ must be {_TYPE}, its alg {_ALGORITHM}")
    if header.keys() != _HEADER:
        raise InvalidProof("the proof's header holds typ, alg and jwk, nothing else")
    try:
        return PublicKey.from_jwk(header["jwk"])
    except KeyFormatError as error:
        raise InvalidProof(f"the proof's jwk: {error}") from None


def _claims(text: str, key: PublicKey) -> dict[str, Any]:
    checks: Any = dict.fromkeys(("verify_aud", "verify_exp", "verify_iat", "verify_nbf"), False)
    public = Ed25519PublicKey.from_public_bytes(key.raw)
    try:
        claims: dict[str, Any] = jwt.decode(text, public, algorithms=[_ALGORITHM], options=checks)
    except jwt.InvalidSignatureError:
        raise InvalidProof("the proof's signature does not hold") from None
    except (jwt.PyJWTError, RecursionError):
        raise InvalidProof("the proof's claims do not hold") from None
    for name, kind in _CLAIMS.items():
        if type(claims.get(name)) is not kind:
            raise InvalidProof(f"the proof's {name} is missing or not of type {kind.__name__}")
    if not 0 < len(claims["jti"]) <= MAX_TOKEN_ID_CHARS:
        raise InvalidProof(f"the proof's jti has 1 to {MAX_TOKEN_ID_CHARS} characters")
    if not 0 <= claims["iat"] * _MS_PER_S <= MAX_TIME_MS:
        raise InvalidProof("the proof's iat is no time")
    if not isinstance(claims.get("cmd", ""), str):
        raise InvalidProof("the proof's cmd is not a text")
    return claims


_CLAIMS: Final[dict[str, type]] = {"jti": str, "htm": str, "htu": str, "iat": int, "ath": str}


def _split_url(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidProof("the proof's htu is no URL") from None
    if parts.scheme.lower() not in {"http", "https"} or not parts.netloc:
        raise InvalidProof("the proof's htu is no URL of HTTP")
    return f"{parts.scheme}://{parts.netloc}".lower(), parts.path
