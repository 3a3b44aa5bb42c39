from __future__ import annotations

import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mallku_contracts.errors import ConfigurationError
from mallku_contracts.keys import SigningKey
from mallku_contracts.tokens import REPLY_AUDIENCE
from mallku_workers.credentials import ReplyToken
from tests.support.simulated_caller import make_token
from tests.workers.world import TRUST, WORKER_KEY, Trusted

STRANGER = SigningKey(b"s" * 32)


def _token(**changes: object) -> bytes:
    fields = {"principal": "worker-1", "audience": REPLY_AUDIENCE} | changes
    key = fields.pop("key", WORKER_KEY)
    return make_token(key, **fields)  # type: ignore[arg-type]  # of a dict


def _read(path: Path) -> ReplyToken:
    return ReplyToken(path, WORKER_KEY.public, Trusted(TRUST), 30.0)


BAD = [
    (b"nonsense", "compact form"),
    (_token(audience="mallku-command"), "aud"),
    (_token(key=STRANGER), "another key"),
    (_token(issuer_key=STRANGER), "no trusted key"),
    (_token(issued_s=time.time() - 90_000), "exp"),
]


@pytest.mark.parametrize(("token", "why"), BAD)
def test_a_worker_nobody_would_believe_does_not_start(
    tmp_path: Path, token: bytes, why: str
) -> None:
    """The error names the file and what is wrong in it; never the token."""
    path = tmp_path / "token.jwt"
    path.write_bytes(token)
    with pytest.raises(ConfigurationError) as refusal:
        _read(path)
    assert str(path) in refusal.value.message
    assert why in refusal.value.message
    assert token.decode() not in refusal.value.message


@pytest.mark.parametrize(("bad", "why"), [*BAD, (b"", "compact form")])
def test_the_last_good_token_stays_in_use(tmp_path: Path, bad: bytes, why: str) -> None:
    """A renewal that went wrong is logged and not taken; the next good one is."""
    path = tmp_path / "token.jwt"
    first, second = _token(), _token(life_s=1_800)
    path.write_bytes(first)
    token = _read(path)
    assert token.current == first
    path.write_bytes(bad)
    with capture_logs() as logs:
        token.reread()
    assert token.current == first
    assert why in logs[0]["reason"]
    path.unlink()
    token.reread()
    path.write_bytes(second + b"\n")
    token.reread()
    assert token.current == second
