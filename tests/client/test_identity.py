from __future__ import annotations

import time
from pathlib import Path

import pytest

from mallku_client.clock import Clock
from mallku_client.identity import TokenFile
from mallku_contracts.errors import ConfigurationError, TokenExpired
from mallku_contracts.keys import SigningKey
from mallku_contracts.tokens import COMMAND_AUDIENCE
from tests.client.world import World


class _Times:
    """A wall clock and a monotonic one that move together, when told."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.begin = int(time.time())

    def wall(self) -> float:
        """Unix seconds."""
        return self.begin + self.passed

    def monotonic(self) -> float:
        """Seconds."""
        return self.passed


def _token(world: World, life_s: int, begin: float) -> str:
    return world.keys.token(
        world.keys.client, audience=COMMAND_AUDIENCE, issued_at=begin, life_s=life_s
    )


def test_a_token_is_read_again_before_it_expires(world: World, tmp_path: Path) -> None:
    """In the last third of its life the file is looked at, once a second and not more often."""
    times = _Times()
    world.write_token(_token(world, 300, times.begin))
    file = TokenFile(tmp_path / "token.jwt", Clock(times.wall), times.monotonic)
    first = file.current()
    world.write_token(_token(world, 301, times.begin))
    times.passed = 190
    assert file.current() is first
    times.passed = 202
    second = file.current()
    assert second.raw != first.raw
    world.write_token(_token(world, 302, times.begin))
    times.passed = 202.5
    assert file.current() is second
    times.passed = 203.5
    assert file.current().expires_at == second.expires_at + 1


def test_an_expired_token_names_its_file(world: World, tmp_path: Path) -> None:
    """Nothing is signed with a token that is over; the error says which, since when, what to do."""
    times = _Times()
    world.write_token(_token(world, 300, times.begin))
    file = TokenFile(tmp_path / "token.jwt", Clock(times.wall), times.monotonic)
    times.passed = 310
    with pytest.raises(TokenExpired, match=r"token\.jwt: the token's exp passed 10 s ago"):
        file.current()
    world.write_token(_token(world, 300, times.wall()))
    assert file.current().expires_at > times.wall()


async def test_an_expired_token_sends_nothing(world: World) -> None:
    """A call with an expired token is refused here, at once."""
    world.write_token(_token(world, 60, time.time() - 100))
    async with await world.connect() as db:
        with pytest.raises(TokenExpired, match="mallku-gateway token issue"):
            await db.collection("anchors").insert({})
    assert world.gateway.seen == []


async def test_the_principal_may_come_from_the_token(world: World) -> None:
    """Without MALLKU_PRINCIPAL the client is whom its token was issued to."""
    async with await world.connect(principal=None) as db:
        assert db.principal == "mallku"


async def test_a_token_of_somebody_else_is_refused(world: World) -> None:
    """A principal that is not the token's is a mistake in the settings, told as one."""
    with pytest.raises(ConfigurationError, match="issued to 'mallku', and this client is 'mary'"):
        await world.connect(principal="mary")


async def test_a_token_for_another_key_is_refused(world: World, tmp_path: Path) -> None:
    """Key and token that do not belong together are told with both files' names."""
    (tmp_path / "key.pem").write_text(SigningKey(b"z" * 32).to_pem())
    with pytest.raises(ConfigurationError, match=r"token\.jwt.*another key.*key\.pem"):
        await world.connect()


@pytest.mark.parametrize(
    "text", ["", "abc", "a.b.c", "e30.e30.e30", "e30.W10.e30", f"e30.{'W1tb' * 1_500}.e30"]
)
async def test_what_is_no_token_is_told(world: World, text: str) -> None:
    """Rubbish in the token file is an error that names the file and holds none of its text."""
    world.write_token(text)
    with pytest.raises(ConfigurationError, match=r"token file .*token\.jwt"):
        await world.connect()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.chmod(0o644), "chmod 600"),
        (lambda path: path.write_text("rubbish"), "PEM"),
    ],
)
async def test_a_key_file_that_cannot_be_used_is_named(
    world: World, tmp_path: Path, spoil: object, words: str
) -> None:
    """Missing, open to others, or no key: the error names the file and what to do."""
    assert callable(spoil)
    spoil(tmp_path / "key.pem")
    with pytest.raises(ConfigurationError, match=rf"key file .*key\.pem.*{words}"):
        await world.connect()


def test_secrets_do_not_show(world: World, tmp_path: Path) -> None:
    """Neither key nor token is in the `repr` of what holds them."""
    key = (tmp_path / "key.pem").read_text().splitlines()[1]
    token = (tmp_path / "token.jwt").read_text()
    shown = repr(TokenFile(tmp_path / "token.jwt", Clock()).peek()) + repr(world.settings)
    assert key not in shown
    assert token.rpartition(".")[2] not in shown
