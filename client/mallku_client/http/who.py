"""Who sent a request: somebody who proves it (RFC 9449), or a service whose key the door holds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.requests import Request

from mallku_broker.trust import TrustFile
from mallku_client.clock import Clock
from mallku_client.http.carrying import Prove
from mallku_client.http.services import Services
from mallku_client.signer import Carried
from mallku_contracts.dpop import Asked, Proof
from mallku_contracts.errors import InvalidProof, InvalidToken
from mallku_contracts.limits import MAX_CLOCK_SKEW_MS
from mallku_contracts.tokens import COMMAND_AUDIENCE, Identity, verify_token
from mallku_contracts.trust import Trust

MAX_REMEMBERED_TOKENS: Final = 1_024
"""Callers' tokens whose verification is remembered; the oldest is forgotten first."""

_LEEWAY_S: Final = MAX_CLOCK_SKEW_MS / 1_000
_HOW: Final = "send Authorization: DPoP TOKEN with a DPoP proof, or Authorization: Bearer SECRET"


@dataclass(frozen=True, slots=True)
class Who:
    """A caller, and how the door shows workers that they asked.

    Attributes:
        many: Whether more than one command can be shown; a proof that was sent shows one.
    """

    principal: str
    prove: Prove
    many: bool


class Doorkeeper:
    """Finds out who sent a request; nothing is sent on for anybody else.

    Args:
        origin: How callers reach the door, `https://host:port`; a proof names it.
    """

    def __init__(self, trust: TrustFile, services: Services, clock: Clock, origin: str) -> None:
        self._trust_file = trust
        self._trust: Trust = trust.trust
        self._services = services
        self._clock = clock
        self._origin = origin
        self._tokens: OrderedDict[str, Identity] = OrderedDict()

    def who(self, request: Request) -> Who:
        """The caller of a request.

        Raises:
            InvalidToken, TokenExpired: there is no token or secret, or it is not believed.
            InvalidProof: the proof is missing, or was not made for this request, and now.
        """
        scheme, _, credential = request.headers.get("authorization", "").partition(" ")
        match scheme.lower():
            case "dpop":
                return self._prover(request, credential.strip())
            case "bearer":
                service = self._services.find(credential.strip())
                url = self._origin + path_of(request)
                prove: Callable[[Asked], Carried] = partial(
                    service.prove, method=request.method, url=url
                )
                return Who(service.identity.principal, prove, many=True)
            case _:
                raise InvalidToken(f"the request does not say who asks: {_HOW}")

    def identify(self, token: str) -> Identity:
        """What a caller's token says, if it is believed; `InvalidToken` or `TokenExpired` else."""
        if self._trust_file.changed():
            self._trust = self._trust_file.trust
            self._tokens.clear()
        now_s = self._clock.now_ms() / 1_000
        known = self._tokens.get(token)
        if known is None:
            known = verify_token(
                token, self._trust, audience=COMMAND_AUDIENCE, now_s=now_s, leeway_s=_LEEWAY_S
            )
            self._tokens[token] = known
            if len(self._tokens) > MAX_REMEMBERED_TOKENS:
                self._tokens.popitem(last=False)
        known.check_times(now_s, _LEEWAY_S)
        return known

    def _prover(self, request: Request, token: str) -> Who:
        proofs = request.headers.getlist("dpop")
        if len(proofs) != 1:
            raise InvalidProof("the header DPoP holds one proof")
        identity = self.identify(token)
        text = proofs[0].strip().encode()
        proof = Proof.verify(text, token=token.encode(), key=identity.key)
        proof.check_times(self._clock.now_ms() / 1_000, _LEEWAY_S)
        if proof.method != request.method:
            raise InvalidProof("the proof's htm is not the method of this request")
        if (proof.origin, proof.path) != (self._origin, path_of(request)):
            raise InvalidProof(f"the proof's htu is not {self._origin}{path_of(request)}")
        carried = Carried(token.encode(), text, proof)
        return Who(identity.principal, partial(_covered, carried), many=False)


def path_of(request: Request) -> str:
    """The path as it was sent, without the query."""
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    return raw.partition(b"?")[0].decode("ascii", "replace")


def _covered(carried: Carried, asked: Asked) -> Carried:
    """What came with the request, if it covers this; the error says what it has to cover."""
    try:
        carried.proof.check_covers(asked)
    except InvalidProof as error:
        raise InvalidProof(error.message, details={"command": asked.said()}) from None
    return carried
