from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.envelope import CommandHeader
from mallku_contracts.errors import (
    InvalidSignature,
    InvalidToken,
    Replayed,
    Revoked,
    TokenExpired,
)
from mallku_contracts.identifiers import uuid7
from mallku_contracts.keys import SigningKey
from mallku_contracts.limits import MAX_CLOCK_SKEW_MS
from mallku_contracts.tokens import verify_token
from mallku_contracts.trust import Trust
from mallku_workers import identity
from mallku_workers.identity import Identifier, SeenIds, open_command
from mallku_workers.message import Case
from tests.support.simulated_caller import ISSUER, Sent, SimulatedCaller, make_token, now_ms
from tests.workers.world import SKEW_MS, TRUST, Trusted, message_of

Revocation = Callable[[str], bool]


def _identifier(is_revoked: Revocation = lambda _name: False, max_tokens: int = 10) -> Identifier:
    return Identifier(Trusted(TRUST), is_revoked, max_tokens=max_tokens, skew_ms=SKEW_MS)


def _identify(identifier: Identifier, sent: Sent, received_ms: int | None = None) -> None:
    case = Case(message_of(sent, received_ms=received_ms or now_ms()))
    envelope, header = open_command(case, sent.subject, skew_ms=10**12)
    identifier.identify(case, sent.subject, envelope, header)


@pytest.fixture
def verifications(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every token that was really verified."""
    seen: list[bytes] = []

    def counted(token: bytes, *args: Any, **named: Any) -> object:
        seen.append(token)
        return verify_token(token, *args, **named)

    monkeypatch.setattr(identity, "verify_token", counted)
    return seen


def test_a_token_is_verified_once(caller: SimulatedCaller, verifications: list[bytes]) -> None:
    """The second command with the same token costs no verification of it."""
    identifier = _identifier()
    for _ in range(5):
        _identify(identifier, caller.seal("count", {}))
    assert verifications == [caller.token]


def test_tokens_are_remembered_within_bounds(verifications: list[bytes]) -> None:
    """At most `max_tokens`; the oldest is forgotten, and verified again when it comes back."""
    identifier = _identifier(max_tokens=3)
    callers = [SimulatedCaller.of(f"p{number}") for number in range(5)]
    for one in callers:
        _identify(identifier, one.seal("count", {}))
    assert len(identifier._verified) == 3
    _identify(identifier, callers[4].seal("count", {}))
    assert len(verifications) == 5
    _identify(identifier, callers[0].seal("count", {}))
    assert len(verifications) == 6


def test_a_remembered_token_expires() -> None:
    """The memory of a token ends with the token, to the millisecond and the allowed skew."""
    identifier, caller = _identifier(), SimulatedCaller.of("mallku")
    begin_s = now_ms() // 1_000
    caller.token = make_token(caller.key, principal="mallku", issued_s=begin_s, life_s=100)
    sent = caller.seal("count", {})
    end_ms = (begin_s + 100) * 1_000 + SKEW_MS
    _identify(identifier, sent, end_ms - 1)
    with pytest.raises(TokenExpired):
        _identify(identifier, sent, end_ms)
    with pytest.raises(TokenExpired):
        _identify(identifier, sent, end_ms + 1)


def test_revocation_is_asked_for_each_time(caller: SimulatedCaller) -> None:
    """A revocation of key or principal holds from the next command on, remembered token or not."""
    revoked: set[str] = set()
    asked: list[str] = []

    def is_revoked(name: str) -> bool:
        asked.append(name)
        return name in revoked

    identifier = _identifier(is_revoked)
    for _ in range(2):
        _identify(identifier, caller.seal("count", {}))
    assert asked == [caller.key.kid, "mallku"] * 2
    for name in (caller.key.kid, "mallku"):
        revoked |= {name}
        with pytest.raises(Revoked):
            _identify(identifier, caller.seal("count", {}))
        revoked.clear()


def test_a_remembered_token_proves_nothing_by_itself(caller: SimulatedCaller) -> None:
    """With a known token the signature is still checked."""
    identifier = _identifier()
    _identify(identifier, caller.seal("count", {}))
    thief = SimulatedCaller.of("thief")
    with pytest.raises(InvalidSignature):
        _identify(identifier, caller.seal("count", {}, key=thief.key, kid=caller.key.kid))


def test_a_key_taken_out_of_the_trust_ends_its_tokens(verifications: list[bytes]) -> None:
    """Two keys of one issuer count at once, and what one vouched for ends when it is removed."""
    old, new = (SigningKey(bytes([number]) * 32) for number in (1, 2))
    trusted = Trusted(Trust.of(ISSUER, old.public, new.public))
    identifier = Identifier(trusted, lambda _name: False, max_tokens=10, skew_ms=SKEW_MS)
    callers = [SimulatedCaller.of("mallku") for _ in (old, new)]
    for one, issuer_key in zip(callers, (old, new), strict=True):
        one.token = make_token(one.key, principal="mallku", issuer_key=issuer_key)
        _identify(identifier, one.seal("count", {}))
    trusted.trust = Trust.of(ISSUER, new.public)
    for _ in range(2):
        with pytest.raises(InvalidToken, match="no trusted key"):
            _identify(identifier, callers[0].seal("count", {}))
        _identify(identifier, callers[1].seal("count", {}))
    assert verifications.count(callers[1].token) == 2


def test_a_key_moved_to_another_issuer_ends_its_tokens() -> None:
    """A key that speaks for another issuer now does not vouch for the former one's tokens."""
    key = SigningKey(bytes([1]) * 32)
    trusted, caller = Trusted(Trust.of(ISSUER, key.public)), SimulatedCaller.of("mallku")
    identifier = Identifier(trusted, lambda _name: False, max_tokens=10, skew_ms=SKEW_MS)
    caller.token = make_token(caller.key, principal="mallku", issuer_key=key)
    _identify(identifier, caller.seal("count", {}))
    trusted.trust = Trust.of("https://another.test", key.public)
    with pytest.raises(InvalidToken, match="iss"):
        _identify(identifier, caller.seal("count", {}))


def test_a_remembered_token_has_its_beginning_too() -> None:
    """A command that came before the token's time gains nothing from its being remembered."""
    identifier, caller = _identifier(), SimulatedCaller.of("mallku")
    begin_s = now_ms() // 1_000
    caller.token = make_token(caller.key, principal="mallku", issued_s=begin_s)
    sent = caller.seal("count", {})
    _identify(identifier, sent, begin_s * 1_000)
    with pytest.raises(TokenExpired, match="future"):
        _identify(identifier, sent, begin_s * 1_000 - SKEW_MS - 1)


def _header(command_id: str, exp: int) -> CommandHeader:
    texts = {"kid": "", "id": command_id, "op": "", "db": "", "col": "", "idem": "", "reply": ""}
    numbers = {"v": 1, "iat": 0, "exp": exp, "budget": 1, "attempt": 1}
    return CommandHeader(**texts, **numbers, ath=b"")  # type: ignore[arg-type]  # of two dicts


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 90_000), st.integers(0, 20_000)), max_size=80
    )
)
def test_what_can_still_come_again_is_remembered(steps: list[tuple[int, int, int]]) -> None:
    """Within bounds, an id is refused as long as its command could be admitted."""
    seen, now = SeenIds(1_000), 1_000_000
    until: dict[str, int] = {}
    for number, life, pause in steps:
        now += pause
        name = uuid7(0, number)
        if until.get(name, 0) >= now:
            with pytest.raises(Replayed):
                seen.refuse_replay("p", _header(name, now + life), now)
            continue
        try:
            seen.refuse_replay("p", _header(name, now + life), now)
        except Replayed:
            continue  # remembered longer than needed
        until[name] = now + life + MAX_CLOCK_SKEW_MS


def test_id_of_a_proof_is_remembered_as_long_as_the_proof_is_good() -> None:
    """A door that signs with a short `exp` does not make the worker forget the proof sooner."""
    seen, name, ends = SeenIds(100), uuid7(0, 1), 60_000
    seen.refuse_replay("p", _header(name, 1), 0, ends)
    seen.refuse_replay("p", _header(uuid7(0, 2), ends), 1 + MAX_CLOCK_SKEW_MS + 1)
    with pytest.raises(Replayed):
        seen.refuse_replay("p", _header(name, ends), ends + MAX_CLOCK_SKEW_MS - 1, ends)


def test_seen_ids_are_bounded() -> None:
    """The oldest is forgotten; what is over is forgotten first."""
    seen = SeenIds(100)
    for number in range(1_000):
        seen.refuse_replay("p", _header(uuid7(0, number), 10_000), 0)
    assert len(seen) == 100
    with pytest.raises(Replayed):
        seen.refuse_replay("p", _header(uuid7(0, 999), 10_000), 0)
    seen.refuse_replay("q", _header(uuid7(0, 999), 10_000), 0)
    seen.refuse_replay("p", _header(uuid7(0, 1_001), 200_000), 100_000)
    assert len(seen) == 1
