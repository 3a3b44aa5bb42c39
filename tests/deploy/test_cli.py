from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mallku_broker.files import load_signing_key
from mallku_contracts.keys import PublicKey, SigningKey
from mallku_contracts.tokens import COMMAND_AUDIENCE
from mallku_deploy.cli import app
from mallku_deploy.examples import EXAMPLES
from mallku_deploy.furnish import furnish
from mallku_deploy.house import House
from mallku_deploy.issuer import Issuer

RUNNER = CliRunner()
ISSUER = Issuer("mallku-local", SigningKey(bytes(32)))
KEY = SigningKey(bytes([1]) * 32)
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(autouse=True)
def _nobody_speaks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No gateway of this machine plays a part."""
    for name in os.environ:
        if name.startswith("MALLKU_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")


def _refusal(*arguments: str) -> str:
    """What is said when a command is refused: exit code 1, and nothing on standard output."""
    done = RUNNER.invoke(app, arguments)
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return ANSI.sub("", done.stderr)


def _token_file(folder: Path, *, age_s: int = 0, issuer: Issuer = ISSUER) -> Path:
    now_s = int(time.time()) - age_s
    text = issuer.issue(
        "mallku", KEY.public, roles=frozenset(), audience=COMMAND_AUDIENCE, now_s=now_s
    )
    path = folder / "token.jwt"
    path.write_text(text)
    return path


def _trust_file(folder: Path) -> Path:
    path = folder / "trust.json"
    path.write_text(ISSUER.trust.to_json())
    return path


@pytest.mark.parametrize("command", EXAMPLES)
def test_help_teaches(command: str) -> None:
    """Each command's help ends with examples."""
    shown = ANSI.sub("", RUNNER.invoke(app, [*command.split(), "--help"]).stdout)
    assert "Examples" in shown
    first = " ".join(EXAMPLES[command][0].split()[:2])
    assert first in " ".join(shown.split())


@pytest.mark.parametrize(
    "line", [line for lines in EXAMPLES.values() for line in lines if line.startswith("mallku")]
)
def test_examples_name_only_what_exists(line: str) -> None:
    """Every option in an example belongs to the command that it is shown with."""
    words = shlex.split(re.split(r"[|<>]", line)[0])[1:]
    names = [word for word in words if not word.startswith("-")]
    options = {word for word in words if word.startswith("--")}
    known = RUNNER.invoke(app, [*_command(names), "--help"]).stdout
    assert [option for option in options if option not in known] == []


def _command(names: list[str]) -> list[str]:
    return names[:2] if " ".join(names[:2]) in EXAMPLES else names[:1]


def test_bad_usage_is_exit_code_two() -> None:
    """An option that does not exist, and a missing argument, are no refusals."""
    assert RUNNER.invoke(app, ["call", "get", "a", "--nope"]).exit_code == 2
    assert RUNNER.invoke(app, ["token", "issue", "alice"]).exit_code == 2
    assert RUNNER.invoke(app, ["no-such-command"]).exit_code == 2


def test_a_call_without_an_environment_says_what_is_missing() -> None:
    """The variable is named, and what writes it."""
    said = _refusal("call", "list-collections")
    assert "configuration 802" in said
    assert "MALLKU_" in said
    assert "--env-file" in said


def test_a_call_as_somebody_needs_a_gateway(tmp_path: Path) -> None:
    """`--as` without a running `up` says where it looked."""
    said = _refusal("call", "list-collections", "--as", "mallku", "--data", str(tmp_path))
    assert str(tmp_path) in said
    assert "mallku-gateway up" in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["isnert", "a"], "did you mean insert?"),
        (["insert"], "insert takes the name of a collection"),
        (["list-collections", "a"], "list-collections takes no collection"),
        (["insert", "a", "{"], "not JSON"),
        (["insert", "a", "[" * 100_000], "nested too deeply"),
        (["insert", "a", "[1]"], "expected a JSON object, not list"),
        (
            ["insert", "a", '{"documents": []}'],
            "documents: there is no such key; did you mean 'document'?",
        ),
        (["insert", "a", "{}"], "document: it is missing"),
        (["get", "a", '{"document": 7}'], "document"),
    ],
)
def test_a_command_is_checked_before_it_is_sent(arguments: list[str], expected: str) -> None:
    """A wrong verb, collection or argument is named, without any gateway."""
    assert expected in _refusal("call", *arguments)
    assert expected in _refusal("sign", *arguments)


@pytest.mark.parametrize("name", ["a.b", "a b", "a*", ">", ""])
def test_a_collection_that_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    """It never becomes part of a subject."""
    env = _environment(tmp_path)
    said = _refusal("sign", "count", name, "--env-file", str(env))
    assert "invalid_subject 102" in said
    assert "collection" in said


def test_a_value_that_cannot_be_sent_is_named(tmp_path: Path) -> None:
    """Python reads NaN out of JSON; the wire does not know it, and the error says where it is."""
    text, env = '{"document": {"n": NaN}}', _environment(tmp_path)
    said = _refusal("sign", "insert", "a", text, "--env-file", str(env))
    assert "invalid_arguments 401" in said
    assert "document.n" in said


def _environment(folder: Path) -> Path:
    key = folder / "key.pem"
    key.write_text(KEY.to_pem())
    key.chmod(0o600)
    path = folder / "gateway.env"
    path.write_text(f"MALLKU_KEY_FILE={key}\nMALLKU_TOKEN_FILE={_token_file(folder)}\n")
    path.chmod(0o600)
    return path


def test_a_signed_command_is_bytes_and_a_ready_line(tmp_path: Path) -> None:
    """The envelope lies in its file (0600), the `nats req` line on standard error names it."""
    out, env = tmp_path / "count.bin", _environment(tmp_path)
    done = RUNNER.invoke(app, ["sign", "count", "a", "-o", str(out), "--env-file", str(env)])
    assert done.exit_code == 0, done.stderr
    assert out.stat().st_mode & 0o777 == 0o600
    words = shlex.split(done.stderr)
    assert words[:2] == ["nats", "req"]
    assert words[-1] == str(out)
    assert "mallku.v1.cmd.mallku.mallku.a.count" in words
    assert "--inbox-prefix=_INBOX_mallku.mallku" in words


@pytest.mark.parametrize("what", ["missing", "readable by others", "junk"])
def test_a_key_file_that_cannot_be_used_is_named(tmp_path: Path, what: str) -> None:
    """The error names the file and never holds any of it."""
    env = _environment(tmp_path)
    key = tmp_path / "key.pem"
    if what == "missing":
        key.unlink()
    elif what == "junk":
        key.write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    else:
        key.chmod(0o644)
    said = _refusal("sign", "count", "a", "--env-file", str(env))
    assert f"key file {key}" in said
    assert "c2VjcmV0" not in said
    assert KEY.to_pem().splitlines()[1] not in said


def test_an_expired_token_is_named_with_its_claim(tmp_path: Path) -> None:
    """The error says file and claim."""
    env = _environment(tmp_path)
    _token_file(tmp_path, age_s=10_000)
    said = _refusal("sign", "count", "a", "--env-file", str(env))
    assert "token_expired 207" in said
    assert "exp" in said
    assert "token.jwt" in said


def test_the_public_half_can_be_pem(tmp_path: Path) -> None:
    """What `keys new --pem` prints goes into a folder of keys, and into `token issue`."""
    shown = RUNNER.invoke(app, ["keys", "new", str(tmp_path / "a.pem"), "--pem"])
    assert shown.exit_code == 0, shown.stderr
    (tmp_path / "public.pem").write_text(shown.stdout)
    assert PublicKey.from_pem(shown.stdout) == load_signing_key(tmp_path / "a.pem").public
    house = furnish(House(tmp_path / "house"), 1).house
    arguments = ["token", "issue", "alice", "--public-key", str(tmp_path / "public.pem")]
    arguments += ["--data", str(house.root), "-o", str(tmp_path / "alice.jwt")]
    done = RUNNER.invoke(app, arguments)
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    assert (tmp_path / "alice.jwt").stat().st_mode & 0o777 == 0o600
    inspected = RUNNER.invoke(
        app, ["token", "inspect", str(tmp_path / "alice.jwt"), "--trust-file", str(house.trust)]
    )
    assert json.loads(inspected.stdout)["believed"] is True


@pytest.mark.parametrize("link", [False, True])
def test_a_key_is_made_in_a_new_file_only(tmp_path: Path, link: bool) -> None:
    """Neither a file that is there nor one behind a link, even a dangling one, is written into."""
    path = tmp_path / "alice.pem"
    if link:
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_text("mine")
    assert "never overwritten" in _refusal("keys", "new", str(path))
    assert not (tmp_path / "elsewhere").exists()
    assert link or path.read_text() == "mine"


def test_a_policy_typo_is_named_with_its_place(tmp_path: Path) -> None:
    """File, line and column of each problem, on a line each."""
    path = tmp_path / "policy.yaml"
    path.write_text(
        "version: 1\nroles:\n  r:\n    rules:\n      - id: a\n        collections: ['*']\n"
        "        operations: [raed]\nprincipals:\n  p:\n    rolls: [r]\n"
    )
    said = _refusal("policy", "check", str(path))
    assert f"{path}:7:22" in said
    assert "did you mean 'read'?" in said
    assert f"{path}:10:5" in said


def test_a_good_policy_is_summed_up(tmp_path: Path) -> None:
    """For people in a sentence, for machines as JSON."""
    path = tmp_path / "policy.yaml"
    path.write_text("version: 3\nroles: {}\nprincipals:\n  p: {}\n")
    assert "version 3, 0 roles, 1 principals" in RUNNER.invoke(
        app, ["policy", "check", str(path)]
    ).stdout.replace("\n", "")
    shown = json.loads(RUNNER.invoke(app, ["policy", "check", str(path), "--json"]).stdout)
    assert (shown["version"], shown["principals"]) == (3, {"p": "caller"})


def test_a_missing_policy_is_named(tmp_path: Path) -> None:
    """The error names the file."""
    assert "nowhere.yaml" in _refusal("policy", "check", str(tmp_path / "nowhere.yaml"))


def test_keys_tokens_and_trust_fit_together(tmp_path: Path) -> None:
    """A new key, a token issued for it, and the trust document make an identity."""
    key, issuer_key = tmp_path / "alice.pem", tmp_path / "issuer.pem"
    jwk = RUNNER.invoke(app, ["keys", "new", str(key), "--json"])
    assert jwk.exit_code == 0, jwk.stderr
    assert key.stat().st_mode & 0o777 == 0o600
    (tmp_path / "alice.jwk").write_text(jwk.stdout)
    issuer_key.write_text(ISSUER.key.to_pem())
    issuer_key.chmod(0o600)
    arguments = ["token", "issue", "alice", "--role", "service", "--role", "other"]
    arguments += ["--public-key", str(tmp_path / "alice.jwk"), "--issuer-key", str(issuer_key)]
    token = RUNNER.invoke(app, arguments)
    assert token.exit_code == 0, token.stderr
    (tmp_path / "alice.jwt").write_text(token.stdout)
    trust = _trust_file(tmp_path)
    shown = RUNNER.invoke(
        app, ["token", "inspect", str(tmp_path / "alice.jwt"), "--trust-file", str(trust), "--json"]
    )
    assert shown.exit_code == 0, shown.stderr
    claims = json.loads(shown.stdout)["claims"]
    assert (claims["sub"], claims["roles"]) == ("alice", ["other", "service"])
    assert claims["cnf"]["jwk"]["kid"] == load_signing_key(key).kid


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """Neither kind, and the file stays as it is."""
    path = tmp_path / "key.pem"
    path.write_text("precious")
    for kind in ([], ["--nats"]):
        assert "never overwritten" in _refusal("keys", "new", str(path), *kind)
    assert path.read_text() == "precious"


def test_a_secret_half_is_never_printed(tmp_path: Path) -> None:
    """Standard output has the public half alone."""
    for name, kind in (("key.pem", []), ("user.nk", ["--nats"])):
        done = RUNNER.invoke(app, ["keys", "new", str(tmp_path / name), *kind])
        secret = (tmp_path / name).read_text().splitlines()
        assert done.exit_code == 0
        assert not [line for line in secret if not line.startswith("--") and line in done.output]


@pytest.mark.parametrize(
    ("age_s", "issuer", "expected"),
    [
        (10_000, ISSUER, "the token's exp has passed"),
        (0, Issuer("mallku-local", SigningKey(bytes([7]) * 32)), "no trusted key"),
        (0, Issuer("somebody", ISSUER.key), "no trusted key"),
    ],
)
def test_a_token_that_is_not_believed_is_shown_and_refused(
    tmp_path: Path, age_s: int, issuer: Issuer, expected: str
) -> None:
    """Its claims are printed, and the error says which of them is wrong; exit code 1."""
    path = _token_file(tmp_path, age_s=age_s, issuer=issuer)
    done = RUNNER.invoke(
        app, ["token", "inspect", str(path), "--trust-file", str(_trust_file(tmp_path))]
    )
    assert done.exit_code == 1
    assert '"sub": "mallku"' in done.stdout
    assert '"believed": false' in done.stdout
    said = " ".join(ANSI.sub("", done.stderr).split())
    assert expected in said
    assert path.name in said


@pytest.mark.parametrize("junk", ["", "abc", "a.b.c", "eyJ9.eyJ9.eyJ9"])
def test_what_is_no_token_is_refused(tmp_path: Path, junk: str) -> None:
    """A coded error, whatever the file holds."""
    path = tmp_path / "junk.jwt"
    path.write_text(junk)
    assert "token" in _refusal("token", "inspect", str(path))


def test_a_worker_without_settings_names_each_variable() -> None:
    """One coded line with every variable that is missing, and exit code 1."""
    done = subprocess.run(
        [sys.executable, "-m", "mallku_deploy.entry", "worker"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 1
    assert "configuration 802" in done.stderr
    for name in ("URL", "KEY_FILE", "TOKEN_FILE", "TRUST_FILE", "BUS_CREDENTIALS"):
        assert f"MALLKU_WORKER_{name}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["decode", "worker"])
def test_the_quick_paths_stay_quick(command: str) -> None:
    """Neither loads the command line's own library; `decode` not even pydantic."""
    code = (
        "import sys, io, contextlib\n"
        f"sys.argv = ['mallku-gateway', {command!r}]\n"
        "from mallku_deploy.entry import main\n"
        "with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())): main()\n"
        "print(*sys.modules, sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input="junk",
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    loaded = set(done.stdout.split())
    too_much = {"typer"} if command == "worker" else {"typer", "rich", "pydantic", "nats", "jwt"}
    assert loaded & too_much == set()
