"""Steps 2 to 4: is it whole, who sent it, and was it seen before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final, Protocol

from mallku_contracts import codec
from mallku_contracts.dpop import MAX_PROOF_ATTEMPTS, Evidence, Proof, unpack_proven
from mallku_contracts.envelope import (
    CommandHeader,
    Envelope,
    command_signing_input,
    token_hash,
)
from mallku_contracts.errors import (
    InvalidProof,
    InvalidSignature,
    InvalidToken,
    MalformedBody,
    PrincipalMismatch,
    Replayed,
    Revoked,
)
from mallku_contracts.limits import MAX_CLOCK_SKEW_MS
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.tokens import COMMAND_AUDIENCE, Identity, verify_token
from mallku_contracts.trust import Trust
from mallku_workers.message import Case
from mallku_workers.request import Carrier

SEEN_STEP_MS: Final = 5_000
"""Transmissions seen are forgotten together when their ends lie this close, milliseconds."""

_MS_PER_S: Final = 1_000
_DIGEST_BYTES: Final = 16


def open_command(
    case: Case, subject: CommandSubject, *, skew_ms: int
) -> tuple[Envelope, CommandHeader]:
    """Step 2: shape, times, and the subject that was signed. No cryptography yet."""
    case.envelope = envelope = Envelope.split(case.message.data)
    case.header = header = CommandHeader.read(envelope.protected)
    header.check_times(case.message.sent_ms, skew_ms=skew_ms)
    header.check_subject(subject)
    case.signed = command_signing_input(str(subject), envelope.protected, envelope.body)
    return envelope, header


class Trusting(Protocol):
    """Knows whose tokens are believed now; `trust` is another object once that has changed."""

    @property
    def trust(self) -> Trust:
        """The trust to judge by now."""
        ...


class Identifier:
    """Step 3: believes a token, and the signature made with the key that the token names.

    Verified tokens are remembered by hash until the trust changes, at most `max_tokens` of them;
    their times and revocation are asked for every time.
    """

    def __init__(
        self,
        trusting: Trusting,
        is_revoked: Callable[[str], bool],
        *,
        max_tokens: int,
        skew_ms: int,
    ) -> None:
        self._trusting = trusting
        self._trust = trusting.trust
        self._is_revoked = is_revoked
        self._max_tokens = max_tokens
        self._leeway_s = skew_ms / _MS_PER_S
        self._verified: OrderedDict[bytes, Identity] = OrderedDict()

    @property
    def remembered(self) -> int:
        """Tokens that were verified and are remembered."""
        return len(self._verified)

    def identify(
        self, case: Case, subject: CommandSubject, envelope: Envelope, header: CommandHeader
    ) -> Identity:
        """Prove who signed these bytes.

        Raises:
            InvalidToken, TokenExpired, Revoked, PrincipalMismatch, InvalidSignature
            InvalidProof: of a command that a door carries.
        """
        digest = token_hash(envelope.token)
        if header.ath != digest:
            raise InvalidToken("protected.ath is not the hash of the token")
        now_s = case.message.sent_ms / _MS_PER_S
        evidence = Evidence.split(envelope.token)
        if evidence is None:
            identity = signer = self._identity(envelope.token, digest, now_s)
        else:
            signer = self._identity(evidence.door, token_hash(evidence.door), now_s)
            identity = self._identity(evidence.caller, token_hash(evidence.caller), now_s)
        if identity.principal != subject.principal:
            raise PrincipalMismatch("the token speaks for another principal than the subject")
        if header.kid != signer.key.kid:
            raise InvalidSignature("protected.kid is not the key that the token names")
        names = (signer.key.kid, signer.principal, identity.key.kid, identity.principal)
        for name in dict.fromkeys(names):
            if self._is_revoked(name):
                raise Revoked(f"{name} was revoked")
        if not signer.key.verify(case.signed, envelope.signature):
            raise InvalidSignature("the signature does not hold for these bytes and this subject")
        if evidence is not None:
            case.door = signer
            proof = self._proof(identity, evidence, header, now_s)
            case.carrier = Carrier(signer, proof, evidence.proof)
        case.identity = identity
        return identity

    def _proof(
        self, identity: Identity, evidence: Evidence, header: CommandHeader, now_s: float
    ) -> Proof:
        """The caller's own proof that a door brings, made for this attempt of one command."""
        proof = Proof.verify(evidence.proof, token=evidence.caller, key=identity.key)
        proof.check_times(now_s, self._leeway_s)
        if header.attempt > MAX_PROOF_ATTEMPTS:
            raise InvalidProof(f"a proof is good for {MAX_PROOF_ATTEMPTS} attempts")
        if header.id != proof.command_id(header.attempt):
            raise InvalidProof("protected.id is not the one that the proof allows this attempt")
        return proof

    def _identity(self, token: bytes, digest: bytes, now_s: float) -> Identity:
        if self._trusting.trust is not self._trust:
            self._trust = self._trusting.trust
            self._verified.clear()
        known = self._verified.get(digest)
        if known is not None:
            known.check_times(now_s, self._leeway_s)
            return known
        identity = verify_token(
            token, self._trust, audience=COMMAND_AUDIENCE, now_s=now_s, leeway_s=self._leeway_s
        )
        self._verified[digest] = identity
        if len(self._verified) > self._max_tokens:
            self._verified.popitem(last=False)
        return identity


def read_body(case: Case, envelope: Envelope) -> dict[str, Any]:
    """Unpack the body of an envelope whose signature held.

    Raises:
        MalformedBody
        MessageTooLarge: a door carries it, and may carry less.
    """
    unpack = codec.unpack if case.carrier is None else unpack_proven
    try:
        body = unpack(envelope.body)
    except codec.CodecError as error:
        raise MalformedBody(f"body: {error}") from None
    if not isinstance(body, dict):
        raise MalformedBody("body: not a map")
    return body


def refuse_uncovered(
    case: Case, subject: CommandSubject, header: CommandHeader, body: dict[str, Any]
) -> None:
    """Refuse what a door carries unless the caller's proof was made for exactly this command.

    Raises:
        InvalidProof
    """
    if case.carrier is None:
        return
    case.carrier.proof.check_covers_command(header, subject, body)


def refuse_again(case: Case, header: CommandHeader, principal: str, seen: SeenIds) -> None:
    """Step 4: refuse a transmission that was here before; a durable job comes until its end.

    Raises:
        Replayed: this worker has seen it.
        StaleCommand: the job waited for longer than it is good for.
        JobGivenUp: it was begun as often as it may be.
        JobShareUsed: its principal's jobs fill their share.
    """
    message = case.message
    if message.job is None:
        # A door chooses `exp`, but its caller's proof may be shown until the proof's own end.
        proof_ends_ms = case.carrier.proof.ends_s * _MS_PER_S if case.carrier else 0
        seen.refuse_replay(principal, header, message.received_ms, proof_ends_ms)
    else:
        message.job.check_time(header, message.received_ms, skew_ms=MAX_CLOCK_SKEW_MS)
        message.job.refuse_spent()
        message.job.refuse_crowding()


class SeenIds:
    """Step 4: remembers which transmissions this worker has seen, while they could come again.

    Across workers the trail's memory of message ids answers, at step 8. A digest of each is kept,
    in one set for each `SEEN_STEP_MS` of their ends: 100 bytes an id.

    Args:
        max_ids: Beyond so many, any of those that end first are forgotten.
    """

    def __init__(self, max_ids: int) -> None:
        self._max_ids = max_ids
        self._by_end: dict[int, set[bytes]] = {}
        self._count = 0

    def __len__(self) -> int:
        """How many are remembered."""
        return self._count

    def refuse_replay(
        self, principal: str, header: CommandHeader, now_ms: int, good_until_ms: int = 0
    ) -> None:
        """Remember this transmission; `Replayed` when it was here before.

        Args:
            good_until_ms: Until when it may be signed anew under the same id, where that is later
                than its `exp`, Unix milliseconds.
        """
        name = f"{principal} {header.id}".encode()
        seen = blake2b(name, digest_size=_DIGEST_BYTES).digest()
        if any(seen in ids for ids in self._by_end.values()):
            raise Replayed("this transmission was seen before; sign a retry anew")
        self._forget(now_ms)
        if self._count < self._max_ids:
            end_ms = max(header.exp, good_until_ms) + MAX_CLOCK_SKEW_MS
            self._by_end.setdefault(end_ms // SEEN_STEP_MS, set()).add(seen)
            self._count += 1

    def _forget(self, now_ms: int) -> None:
        """What cannot come again any more, and as many more as make room for one."""
        while self._by_end:
            first = min(self._by_end)
            is_over = first < now_ms // SEEN_STEP_MS
            if not is_over and self._count < self._max_ids:
                return
            ids = self._by_end[first]
            if not is_over:
                ids.pop()
                self._count -= 1
            if is_over or not ids:
                self._count -= len(ids)
                del self._by_end[first]
