"""Who says something of a worker is believed for a signature over question and answer, or not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mallku_contracts.discovery import SIGNATURE, TOKEN, Question, believe, prove
from mallku_contracts.errors import EnvelopeError, InvalidSignature, InvalidToken, TokenExpired
from mallku_contracts.keys import SigningKey
from mallku_contracts.tokens import COMMAND_AUDIENCE, REPLY_AUDIENCE
from mallku_contracts.trust import Trust
from tests.support.simulated_caller import ISSUER, ISSUER_KEY, make_token, now_ms

KEY = SigningKey(b"w" * 32)
TRUST = Trust.of(ISSUER, ISSUER_KEY.public)
TOKEN_BYTES = make_token(KEY, principal="worker-1", audience=REPLY_AUDIENCE)
QUESTION = Question("$SRV.STATS.mallku-gateway", b"nonce")
ANSWER = b'{"id": "abc"}'


def judged(question: Question, answer: bytes, headers: dict[str, str], later_s: float = 0) -> str:
    """Whom these headers make believable, so much later."""
    now_s = now_ms() / 1_000 + later_s
    return believe(question, answer, headers, TRUST, now_s=now_s, leeway_s=30).principal


def test_a_worker_is_believed() -> None:
    """What the worker said of this question is believed, and says who it is."""
    assert judged(QUESTION, ANSWER, prove(QUESTION, ANSWER, KEY, TOKEN_BYTES)) == "worker-1"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (replace(QUESTION, body=b"another"), ANSWER),
        (replace(QUESTION, subject="$SRV.INFO.mallku-gateway"), ANSWER),
        (QUESTION, ANSWER + b" "),
    ],
)
def test_an_answer_fits_one_question(question: Question, answer: bytes) -> None:
    """The same signature under another question, or over another byte, does not hold."""
    with pytest.raises(InvalidSignature):
        judged(question, answer, prove(QUESTION, ANSWER, KEY, TOKEN_BYTES))


@pytest.mark.parametrize("signature", ["", "!!!", "AAAA", "A" * 86])
def test_no_signature_is_none(signature: str) -> None:
    """An empty, odd or short signature is refused with its code, never with another error."""
    headers = prove(QUESTION, ANSWER, KEY, TOKEN_BYTES) | {SIGNATURE: signature}
    with pytest.raises(InvalidSignature):
        judged(QUESTION, ANSWER, headers)


def test_a_caller_is_no_worker() -> None:
    """A caller's own token and key make nobody believe that a worker speaks."""
    caller = SigningKey(b"c" * 32)
    token = make_token(caller, principal="mallku", audience=COMMAND_AUDIENCE)
    with pytest.raises(InvalidToken):
        judged(QUESTION, ANSWER, prove(QUESTION, ANSWER, caller, token))


def test_another_key_is_another_worker() -> None:
    """A worker's token, which everybody has seen, does not let another key speak."""
    with pytest.raises(InvalidSignature):
        judged(QUESTION, ANSWER, prove(QUESTION, ANSWER, SigningKey(b"x" * 32), TOKEN_BYTES))


def test_an_answer_gets_old_and_none_is_none() -> None:
    """After the token's end, and without headers, nothing is believed."""
    with pytest.raises(TokenExpired):
        judged(QUESTION, ANSWER, prove(QUESTION, ANSWER, KEY, TOKEN_BYTES), later_s=86_400)
    with pytest.raises(EnvelopeError):
        judged(QUESTION, ANSWER, {TOKEN: ""})
