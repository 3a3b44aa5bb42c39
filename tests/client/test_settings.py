from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from mallku_client import ClientSettings, SecuredDatabaseInterface
from mallku_client.settings import variable_of
from mallku_contracts.errors import ConfigurationError

FULL = {
    "MALLKU_API_GATEWAY_URL": "nats://127.0.0.1:4222",
    "MALLKU_PRINCIPAL": "mallku",
    "MALLKU_DATABASE": "other",
    "MALLKU_KEY_FILE": "/keys/key.pem",
    "MALLKU_TIMEOUT": "2.5",
    "MALLKU_MAX_ATTEMPTS": "7",
    "MALLKU_REQUIRE_SIGNED_READS": "TRUE",
    "MALLKU_DEV_MODE": "",
    "SOMETHING": "else",
}


def test_the_environment_is_read() -> None:
    """Each variable sets its field, in its type; an empty one counts as not set."""
    settings = ClientSettings.from_environment(FULL)
    assert settings == ClientSettings(
        url="nats://127.0.0.1:4222",
        principal="mallku",
        database="other",
        key_file=Path("/keys/key.pem"),
        timeout_s=2.5,
        max_attempts=7,
        require_signed_reads=True,
    )


def test_every_setting_has_a_variable_and_a_default() -> None:
    """The environment can say everything, under names that begin with MALLKU_, each once."""
    variables = [variable_of(field.name) for field in fields(ClientSettings)]
    assert all(variable.startswith("MALLKU_") for variable in variables)
    assert len(set(variables)) == len(variables)
    assert ClientSettings() == ClientSettings.from_environment({})


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("MALLKU_TIMEOUT", "soon", "could not convert"),
        ("MALLKU_TIMEOUT", "0", "more than 0"),
        ("MALLKU_TIMEOUT", "nan", "more than 0"),
        ("MALLKU_MAX_ATTEMPTS", "0", "1 to 1000"),
        ("MALLKU_DEV_MODE", "perhaps", "true or false"),
        ("MALLKU_PRINCIPAL", "a.b", "not a name"),
        ("MALLKU_DATABASE", "*", "not a name"),
    ],
)
def test_a_wrong_value_names_its_variable(variable: str, text: str, words: str) -> None:
    """The error holds the variable, its value, and what it may hold."""
    with pytest.raises(ConfigurationError, match=f"{variable}='.*{words}"):
        ClientSettings.from_environment({variable: text})


@pytest.mark.parametrize("missing", ["key_file", "token_file", "trust_file", "url"])
async def test_a_missing_setting_says_how_to_give_it(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has to be there is told with its variable, its argument, and the command that helps."""
    from tests.client.world import make_world

    world = make_world(tmp_path)
    settings = world.settings.override(**{"url": "nats://127.0.0.1:1", missing: None})
    with pytest.raises(ConfigurationError, match=f"{variable_of(missing)} is not set") as caught:
        await SecuredDatabaseInterface.connect(settings=settings)
    assert f"{missing}=" in caught.value.message
    assert "mallku-gateway up --env-file" in caught.value.message


def test_a_folder_of_credentials_says_who_we_are(tmp_path: Path) -> None:
    """What lies in it counts where no variable of its own says otherwise."""
    for name in ("key.pem", "token.jwt", "trust.json", "nats.nk", "ca.pem", "tls.pem"):
        (tmp_path / name).touch()
    where = {"MALLKU_CREDENTIALS": str(tmp_path), "MALLKU_TRUST_FILE": "/trust.json"}
    found = ClientSettings.from_environment({**where, "MALLKU_API_GATEWAY_URL": "nats://a"})
    assert found.key_file == tmp_path / "key.pem"
    assert found.token_file == tmp_path / "token.jwt"
    assert found.nats_credentials == tmp_path / "nats.nk"
    assert found.trust_file == Path("/trust.json")
    assert found.tls_ca_file is None
    found = ClientSettings.from_environment({**where, "MALLKU_API_GATEWAY_URL": "tls://a"})
    assert (found.tls_ca_file, found.tls_cert_file) == (tmp_path / "ca.pem", tmp_path / "tls.pem")
    assert found.tls_key_file is None


def test_a_folder_of_credentials_that_is_not_there_is_named(tmp_path: Path) -> None:
    """It is mounted late, or elsewhere: not the next best identity is taken."""
    with pytest.raises(ConfigurationError, match=r"MALLKU_CREDENTIALS=.*no such folder"):
        ClientSettings.from_environment({"MALLKU_CREDENTIALS": str(tmp_path / "none")})


async def test_arguments_win_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`connect` reads the environment, and takes what it is given instead; paths may be text."""
    from tests.client.world import make_world

    world = make_world(tmp_path)
    for name in ("key_file", "token_file", "trust_file"):
        monkeypatch.setenv(variable_of(name), str(getattr(world.settings, name)))
    monkeypatch.setenv("MALLKU_DATABASE", "from_environment")
    async with await SecuredDatabaseInterface.connect(transport=world.transport) as db:
        assert (db.name, db.principal) == ("from_environment", "mallku")
    async with await SecuredDatabaseInterface.connect(
        database="given", key_file=str(tmp_path / "key.pem"), transport=world.transport
    ) as db:
        assert db.name == "given"


async def test_an_argument_is_checked_as_its_variable_is() -> None:
    """A wrong argument is told like a wrong variable."""
    with pytest.raises(ConfigurationError, match="principal='a b'"):
        await SecuredDatabaseInterface.connect(principal="a b")
