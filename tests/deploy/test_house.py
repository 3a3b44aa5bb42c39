from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from mallku_broker.administrators import load_administrators
from mallku_broker.files import load_signing_key, load_token
from mallku_broker.trust import load_trust
from mallku_client import ClientSettings
from mallku_contracts.errors import ConfigurationError, PermissionDenied
from mallku_contracts.operations import OPERATIONS, Scope
from mallku_contracts.policy import CompiledPolicy
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.tokens import COMMAND_AUDIENCE, REPLY_AUDIENCE, verify_token
from mallku_deploy.furnish import Furnished, furnish
from mallku_deploy.house import ISSUER, House, default_house
from mallku_deploy.issuer import renew
from mallku_deploy.tenancy import HouseTaken, Running, find, tell, tenancy


def _furnished(root: Path, workers: int = 2) -> Furnished:
    furnished = furnish(House(root), workers)
    renew(furnished.tokens, furnished.issuer, time.time())
    return furnished


def _contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_everything_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Folders are 0700 and files 0600, each of them."""
    root = tmp_path / "deep" / "house"
    _furnished(root)
    for path in (root, *root.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_nothing_that_exists_is_made_again(tmp_path: Path) -> None:
    """A second start finds every byte as the first one left it."""
    _furnished(tmp_path / "house")
    before = _contents(tmp_path / "house")
    _furnished(tmp_path / "house")
    assert _contents(tmp_path / "house") == before


def test_tokens_speak_for_principals_and_workers(tmp_path: Path) -> None:
    """Callers get tokens for commands, workers for replies, each bound to its own key."""
    furnished = _furnished(tmp_path / "house")
    house, trust = furnished.house, load_trust(furnished.house.trust)
    for name, files, audience in (
        ("mallku", house.principal("mallku"), COMMAND_AUDIENCE),
        ("operator", house.principal("operator"), COMMAND_AUDIENCE),
        ("worker-1", house.worker("worker-1"), REPLY_AUDIENCE),
        ("worker-2", house.worker("worker-2"), REPLY_AUDIENCE),
    ):
        token = load_token(files.token)
        identity = verify_token(token, trust, audience=audience, now_s=time.time(), leeway_s=0)
        assert identity.principal == name
        assert identity.issuer == ISSUER
        assert identity.key == load_signing_key(files.key).public


def test_those_who_send_no_commands_get_no_key_to_sign_with(tmp_path: Path) -> None:
    """Auditor, inspector and administrator have NATS credentials and nothing else."""
    furnished = _furnished(tmp_path / "house")
    for name in ("auditor", "inspector", "administrator"):
        folder = furnished.house.principal(name).folder
        assert [path.name for path in folder.iterdir()] == ["nats.nk"]


def test_a_principals_folder_is_all_that_a_caller_has_to_be_given(tmp_path: Path) -> None:
    """With it and the address of the gateway nothing is missing; started twice, it is the same."""
    _furnished(tmp_path / "house")
    furnished = _furnished(tmp_path / "house")
    (tmp_path / "house/principals/mallku/token.jwt").touch()
    folder = furnished.house.principal("mallku").folder
    settings = ClientSettings.from_environment({"MALLKU_CREDENTIALS": str(folder)})
    assert settings.trust_file is not None
    assert settings.trust_file.samefile(furnished.house.trust)
    assert settings.key_file == furnished.house.principal("mallku").key
    assert settings.nats_credentials == furnished.house.principal("mallku").credentials


def test_no_two_have_the_same_key(tmp_path: Path) -> None:
    """Every secret in the house is its own."""
    root = tmp_path / "house"
    _furnished(root)
    secrets = [path.read_bytes() for path in root.rglob("*") if path.suffix in {".pem", ".nk"}]
    assert len(secrets) > 10
    assert len(set(secrets)) == len(secrets)


@pytest.mark.parametrize(
    ("operation", "mallku", "operator"),
    [
        ("insert", True, True),
        ("aql", True, True),
        ("create-collection", True, True),
        ("create-index", True, True),
        ("drop-collection", False, True),
        ("truncate", False, True),
        ("drop-index", False, True),
        ("redrive", False, True),
    ],
)
def test_the_default_policy_gives_what_the_design_says(
    tmp_path: Path, operation: str, mallku: bool, operator: bool
) -> None:
    """`mallku` works with documents and makes collections; only `operator` takes them away."""
    policy = CompiledPolicy(furnish(House(tmp_path / "house"), 1).policy)
    verb = OPERATIONS[operation]
    for principal, role, allowed in (
        ("mallku", "service", mallku),
        ("operator", "operator", operator),
    ):
        collection = "@" if verb.scope is Scope.DATABASE else "memory_anchors"
        subject = CommandSubject(principal, "mallku", collection, operation)
        try:
            policy.decide(subject, verb, roles=frozenset({role}), issuer=ISSUER)
            granted = True
        except PermissionDenied:
            granted = False
        assert granted is allowed, principal


def test_a_principal_added_to_the_policy_is_furnished(tmp_path: Path) -> None:
    """Editing the policy is enough: at the next start the newcomer has key, token and nkey."""
    house = _furnished(tmp_path / "house").house
    text = house.policy.read_text() + "  chasqui:\n    roles: [service]\n"
    house.policy.write_text(text)
    furnished = _furnished(house.root)
    assert house.principal("chasqui").token.exists()
    assert furnished.policy.principals["chasqui"].nkey is not None


def test_a_policy_with_a_typo_is_named_with_its_line(tmp_path: Path) -> None:
    """File, line and column stand in the error, and nothing is furnished by guesswork."""
    house = _furnished(tmp_path / "house").house
    house.policy.write_text(
        house.policy.read_text().replace("roles: [service]", "rolls: [service]")
    )
    with pytest.raises(ConfigurationError, match=r"policy\.yaml:\d+:\d+: .*rolls"):
        furnish(house, 2)


def test_an_edited_policy_needs_a_higher_version(tmp_path: Path) -> None:
    """The text in force cannot be changed under its version; the error says what to write."""
    house = _furnished(tmp_path / "house").house
    house.adopted.write_text(house.policy.read_text())
    edited = house.policy.read_text() + "  chasqui:\n    roles: [service]\n"
    house.policy.write_text(edited)
    with pytest.raises(ConfigurationError, match=r"write `version: 2`"):
        furnish(house, 2)
    house.policy.write_text(edited.replace("version: 1", "version: 2"))
    assert "chasqui" in furnish(house, 2).policy.principals


def test_a_policy_that_was_pushed_outlives_an_older_file(tmp_path: Path) -> None:
    """Where a higher version was in force, the broker's lock begins with that one."""
    house = _furnished(tmp_path / "house").house
    pushed = house.policy.read_text().replace("version: 1", "version: 5")
    house.adopted.write_text(pushed)
    furnished = furnish(house, 2)
    assert (furnished.policy.version, furnished.text) == (5, pushed)


def test_the_administrators_key_is_made_and_trusted(tmp_path: Path) -> None:
    """The trust file names it, also one that was made before there were administrators."""
    house = _furnished(tmp_path / "house").house
    kid = load_signing_key(house.administrator).kid
    assert kid in load_administrators(house.trust)
    document = json.loads(house.trust.read_text())
    del document["administrators"]
    house.trust.write_text(json.dumps(document))
    _furnished(house.root)
    assert set(load_administrators(house.trust)) == {kid}
    assert load_trust(house.trust).issuers


def test_a_foreign_administrators_key_is_refused(tmp_path: Path) -> None:
    """A key that the workers do not trust would sign policies that nobody takes."""
    house = _furnished(tmp_path / "house").house
    other = _furnished(tmp_path / "other").house
    house.administrator.write_text(other.administrator.read_text())
    with pytest.raises(ConfigurationError, match="not among its administrators"):
        furnish(house, 2)


def test_a_retired_worker_leaves_its_public_key(tmp_path: Path) -> None:
    """With fewer workers the secrets of the surplus go, and the public keys stay."""
    house = _furnished(tmp_path / "house", workers=3).house
    kid = load_signing_key(house.worker("worker-3").key).kid
    _furnished(house.root, workers=2)
    assert not house.worker("worker-3").folder.exists()
    retired = json.loads((house.retired / f"{kid}.json").read_text())
    assert retired["kid"] == kid


def test_a_house_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    """The error names the folder and the command that mends it."""
    root = tmp_path / "house"
    root.mkdir(mode=0o755)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        furnish(House(root), 1)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """A secret that was open to others is not used any more."""
    house = _furnished(tmp_path / "house").house
    house.issuer.chmod(0o644)
    with pytest.raises(ConfigurationError, match=r"issuer\.pem.*chmod 600"):
        furnish(house, 2)


def test_a_foreign_trust_file_is_refused(tmp_path: Path) -> None:
    """An issuer that its own house does not trust would give tokens that nobody believes."""
    house = _furnished(tmp_path / "house").house
    other = _furnished(tmp_path / "other").house
    house.trust.write_text(other.trust.read_text())
    with pytest.raises(ConfigurationError, match="does not trust"):
        furnish(house, 2)


def _tell_and_fall(house: House, running: Running) -> None:
    tell(house, running)
    raise HouseTaken


def test_a_house_has_one_tenant(tmp_path: Path) -> None:
    """Who comes second learns who is there; what the first wrote down goes with it."""
    house = furnish(House(tmp_path / "house"), 1).house
    running = Running(1234, "nats://127.0.0.1:4222", 2)
    with tenancy(house):
        tell(house, running)
        with pytest.raises(HouseTaken), tenancy(house):
            pass
        assert find(house) == running
    assert find(house) is None
    with pytest.raises(HouseTaken), tenancy(house):
        _tell_and_fall(house, running)
    assert find(house) is None


def test_the_default_house_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """State belongs below `XDG_STATE_HOME`, and in `~/.local/state` without it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_house().root == tmp_path / "mallku-gateway"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_house().root == Path.home() / ".local/state/mallku-gateway"
