"""What a worker says of itself when it is asked (NATS ADR-32), and how it proves that it said so.

The answer's body is plain ADR-32; its proof stands in two headers, which `nats micro` overlooks.
Whoever asks puts random bytes into the question, so that no older answer fits.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mallku_contracts.envelope import length_prefixed
from mallku_contracts.errors import InvalidSignature
from mallku_contracts.keys import SigningKey, base64url
from mallku_contracts.limits import MIB
from mallku_contracts.tokens import REPLY_AUDIENCE, Identity, verify_token
from mallku_contracts.trust import Trust

CONTEXT: Final = b"mallku-discovery-v1"
"""What the signature of an answer begins with, so that it can be one of nothing else."""

SIGNATURE: Final = "Mallku-Signature"
"""The header with the signature, base64url without padding."""

TOKEN: Final = "Mallku-Token"  # noqa: S105 - the name of a header
"""The header with the worker's token."""

MAX_QUESTION_BYTES: Final = 256
"""The body of a question, bytes; a longer one is not answered."""

MAX_ANSWER_BYTES: Final = MIB
"""The body of an answer, bytes; whoever asks looks at no longer one."""

NONCE_BYTES: Final = 16
"""What our own questions hold, random bytes."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked: the subject in full, and the body."""

    subject: str
    body: bytes

    def signing_input(self, answer: bytes) -> bytes:
        """What the signature of an answer covers: the question, and every byte of the answer."""
        return CONTEXT + length_prefixed(self.subject.encode(), self.body, answer)


def prove(question: Question, answer: bytes, key: SigningKey, token: bytes) -> dict[str, str]:
    """The headers by which an answer can be believed."""
    signature = key.sign(question.signing_input(answer))
    return {SIGNATURE: base64url(signature), TOKEN: token.decode("ascii")}


def believe(  # noqa: PLR0913 - what was asked, what came, and by what it is judged
    question: Question,
    answer: bytes,
    headers: Mapping[str, str],
    trust: Trust,
    *,
    now_s: float,
    leeway_s: float,
) -> Identity:
    """Who gave this answer to this question: a worker whose token a trusted issuer signed.

    Raises:
        InvalidToken, TokenExpired: nobody vouches for the worker.
        InvalidSignature: somebody else says this, or says it of another question.
    """
    identity = verify_token(
        headers.get(TOKEN, ""), trust, audience=REPLY_AUDIENCE, now_s=now_s, leeway_s=leeway_s
    )
    if not identity.key.verify(question.signing_input(answer), _signature(headers)):
        raise InvalidSignature("the signature does not hold for this answer to this question")
    return identity


def _signature(headers: Mapping[str, str]) -> bytes:
    text = headers.get(SIGNATURE, "")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise InvalidSignature("the signature is not base64url") from None
