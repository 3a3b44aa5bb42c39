from __future__ import annotations

from pathlib import Path

import pytest

from mallku_broker.files import load_token
from mallku_contracts.errors import InvalidSubject
from mallku_contracts.keys import SigningKey
from mallku_contracts.tokens import COMMAND_AUDIENCE, verify_token
from mallku_deploy.issuer import RENEW_BEFORE_S, TOKEN_LIFE_S, Issuer, TokenOrder, renew

NOW_S = 1_800_000_000
ISSUER = Issuer("mallku-local", SigningKey(bytes(32)))
KEY = SigningKey(bytes([1]) * 32).public


def _file(folder: Path, roles: frozenset[str] = frozenset({"service"})) -> TokenOrder:
    return TokenOrder(folder / "token.jwt", "mallku", roles, COMMAND_AUDIENCE, KEY)


def test_a_missing_token_is_issued_for_its_key(tmp_path: Path) -> None:
    """The new token is believed, and says principal, roles and key."""
    file = _file(tmp_path)
    assert renew([file], ISSUER, NOW_S) == [file]
    identity = verify_token(
        load_token(file.path), ISSUER.trust, audience=COMMAND_AUDIENCE, now_s=NOW_S, leeway_s=0
    )
    assert (identity.principal, identity.roles, identity.key) == ("mallku", file.roles, KEY)
    assert identity.expires_at - NOW_S == TOKEN_LIFE_S


def test_a_fresh_token_stays(tmp_path: Path) -> None:
    """Nothing is written while more than the margin is left."""
    file = _file(tmp_path)
    renew([file], ISSUER, NOW_S)
    before = file.path.read_bytes()
    assert renew([file], ISSUER, NOW_S + TOKEN_LIFE_S - RENEW_BEFORE_S - 1) == []
    assert file.path.read_bytes() == before


@pytest.mark.parametrize("later_s", [TOKEN_LIFE_S - RENEW_BEFORE_S, 10 * TOKEN_LIFE_S])
def test_a_token_is_renewed_before_it_expires(tmp_path: Path, later_s: int) -> None:
    """At the margin, and also when the machine slept beyond the end."""
    file = _file(tmp_path)
    renew([file], ISSUER, NOW_S)
    assert renew([file], ISSUER, NOW_S + later_s) == [file]


def test_a_token_with_other_roles_is_replaced(tmp_path: Path) -> None:
    """When the policy gave a principal another role, so does the token."""
    renew([_file(tmp_path)], ISSUER, NOW_S)
    more = _file(tmp_path, frozenset({"service", "operator"}))
    assert renew([more], ISSUER, NOW_S + 1) == [more]


def test_a_token_of_another_issuer_is_replaced(tmp_path: Path) -> None:
    """A token that the present issuer did not sign is not kept."""
    file = _file(tmp_path)
    renew([file], Issuer("mallku-local", SigningKey(bytes([9]) * 32)), NOW_S)
    assert renew([file], ISSUER, NOW_S + 1) == [file]


def test_a_token_file_with_junk_is_replaced(tmp_path: Path) -> None:
    """Junk is no token, whatever its shape."""
    file = _file(tmp_path)
    for junk in ("", "a.b.c", "nonsense"):
        file.path.write_text(junk)
        assert renew([file], ISSUER, NOW_S) == [file]


def test_a_principal_must_be_a_name() -> None:
    """The issuer signs nothing that could not stand in a subject."""
    with pytest.raises(InvalidSubject, match="principal"):
        ISSUER.issue("a.b", KEY, roles=frozenset(), audience=COMMAND_AUDIENCE, now_s=NOW_S)
