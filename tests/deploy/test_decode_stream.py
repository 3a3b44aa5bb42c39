"""`decode` over many messages, with a policy, and how much it has to load for one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.codec import pack
from mallku_contracts.dpop import Asked, Evidence, Proof, make_proof
from mallku_contracts.envelope import CommandHeader, seal_command, token_hash
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.governed import Kind, sign_document
from mallku_contracts.keys import SigningKey
from mallku_contracts.limits import MAX_PAYLOAD_BYTES
from mallku_contracts.subjects import CommandSubject, inbox_prefix
from mallku_contracts.tokens import COMMAND_AUDIENCE
from mallku_contracts.trust import Trust
from mallku_deploy.decoding.hidden import read_hidden, veil
from mallku_deploy.decoding.proof import prove
from mallku_deploy.decoding.readable import read_message
from mallku_deploy.decoding.splitting import split_messages
from mallku_deploy.issuer import Issuer
from tests.support.simulated_caller import SimulatedCaller

NOW_MS = 1_800_000_000_000
KEY = SigningKey(bytes([2]) * 32)
ISSUER = Issuer("mallku-local", SigningKey(bytes(32)))
ENTRY = (sys.executable, "-m", "mallku_deploy.entry", "decode")
STREET = "Calle del Sol 7"
POLICY = """
version: 1
roles:
  service:
    rules:
      - {id: documents, collections: ["*"], operations: [read], hide: [home.street, "`pin`"]}
principals: {}
"""
ENVELOPE = msgpack.packb([b"\x80", b"\n\n", b"", b""])
RECORD = msgpack.packb({"v": 1, "text": "one\ntwo"})


def _document(version: int = 3) -> bytes:
    body = b"version: 3\nroles: {}\n"
    return sign_document(Kind.POLICY, version, body, KEY, issued_at=NOW_MS).data


def _in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 7, 1_000])
@pytest.mark.parametrize("between", [b"", b"\n"])
def test_messages_are_told_apart(size: int, between: bytes) -> None:
    """However they arrive, with the newlines of `nats sub --raw` between them or without."""
    messages = [ENVELOPE, RECORD, ENVELOPE, _document()]
    data = between.join([*messages, b""])
    assert list(split_messages(_in_pieces(data, size))) == messages


def test_text_and_junk_among_them_are_lines() -> None:
    """What does not say where it ends ends with its line; what follows is read again."""
    chunks = [b'{"type": "pong"}\n', ENVELOPE + b"\n", b"\xff\xfe junk\n" + RECORD]
    assert list(split_messages(chunks)) == [
        b'{"type": "pong"}',
        ENVELOPE,
        b"\xff\xfe junk",
        RECORD,
    ]


def test_each_message_comes_out_at_once() -> None:
    """Nobody waits for the next message to see this one."""
    taken: list[bytes] = []

    def chunks() -> Any:
        yield ENVELOPE
        assert taken == [ENVELOPE]
        yield RECORD[:-1]
        assert taken == [ENVELOPE]
        yield RECORD[-1:]
        assert taken == [ENVELOPE, RECORD]

    for message in split_messages(chunks()):
        taken.append(message)  # noqa: PERF402 - what was taken is looked at in between


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_nothing_but_newlines_is_lost(chunks: list[bytes]) -> None:
    """Whatever comes, in whatever pieces, comes out in order."""
    found = b"".join(split_messages(chunks))
    assert found.replace(b"\n", b"") == b"".join(chunks).replace(b"\n", b"")


def test_a_message_without_an_end_is_cut() -> None:
    """A map that announces more than ever comes takes no more memory than a message may."""
    endless = b"\xdf\xff\xff\xff\xff" + b"\xc0" * (2 * MAX_PAYLOAD_BYTES)
    lengths = [len(message) for message in split_messages(_in_pieces(endless, 1 << 20))]
    assert max(lengths) <= MAX_PAYLOAD_BYTES
    assert sum(lengths) == len(endless)


def _run(data: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*ENTRY, *arguments], input=data, capture_output=True, timeout=30, check=False
    )


def test_the_command_streams() -> None:
    """One line of JSON for each message, and nothing ends it but the end."""
    done = _run(ENVELOPE + b"\n+OK\n" + RECORD, "--stream", "--json")
    kinds = [json.loads(line)["kind"] for line in done.stdout.splitlines()]
    assert (done.returncode, kinds) == (0, ["reply", "text", "map"])


def test_a_live_stream_is_shown_as_it_comes() -> None:
    """The first message is readable while the stream is still open."""
    with subprocess.Popen(
        [*ENTRY, "--stream", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(msgpack.packb({"n": number}) + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["content"] == {"n": number}
        process.stdin.close()
        assert process.wait(10) == 0


@pytest.mark.parametrize("arguments", [("--verify",), ("--policy", "FILE"), ("--stream",)])
def test_it_loads_neither_the_terminal_library_nor_pydantic(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """It starts once for each message: what takes long to import has no place on its path."""
    trust, policy = tmp_path / "trust.json", tmp_path / "policy.yaml"
    trust.write_text(ISSUER.trust.to_json(KEY.public))
    policy.write_text(POLICY)
    given_ = [str(policy) if each == "FILE" else each for each in arguments]
    code = (
        "import sys; from mallku_deploy.entry import main; code = main(); "
        "print(code, *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "decode", *given_],
        input=_document(),
        capture_output=True,
        timeout=30,
        check=True,
        env=os.environ | {"MALLKU_TRUST_FILE": str(trust)},
    )
    result, *modules = done.stderr.decode().split()
    assert result == "0"
    assert not {"pydantic", "typer", "rich", "nats", "lark", "arango"} & set(modules)


def test_a_signed_document_proves_itself() -> None:
    """The policy in its bucket is readable, and verified by the administrators' keys alone."""
    message = read_message(_document())
    assert message.content["kind"] == "document"
    assert message.content["body"].startswith("version: 3")
    ours, nobody = {KEY.kid: KEY.public}, None
    assert prove(message, ISSUER.trust, None, ours)["verified"] is True
    assert prove(message, ISSUER.trust, None, nobody)["verified"] is False
    altered = _document().replace(b"roles: {}", b"roles: []")
    assert prove(read_message(altered), ISSUER.trust, None, ours)["verified"] is False


@pytest.fixture
def hidden(tmp_path: Path) -> tuple[tuple[str, ...], ...]:
    """What the policy above hides."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return read_hidden(path)


def _sealed(operation: str, arguments: dict[str, Any]) -> bytes:
    token = ISSUER.issue(
        "mallku", KEY.public, roles=frozenset(), audience="mallku-gateway", now_s=NOW_MS // 1000
    )
    return SimulatedCaller("mallku", KEY, token.encode()).seal(operation, arguments).data


@pytest.mark.parametrize(
    "data",
    [
        _sealed("insert", {"document": {"_key": "ana", "home": {"street": STREET}}}),
        _sealed("update-match", {"filters": {"home.street": STREET}, "body": {"pin": STREET}}),
        _sealed("aql", {"query": f"RETURN '{STREET}'", "bind_vars": {"s": STREET}}),
        _sealed("transaction", {"steps": [{"arguments": {"document": {"pin": STREET}}}]}),
        msgpack.packb(
            [
                b"\x80",
                pack({"result": {"result": [STREET, [STREET]], "more": False}}),
                b"",
                b"",
            ]
        ),
        msgpack.packb([b"\x80", pack({"result": [{"home": {"street": STREET}}]}), b"", b""]),
        msgpack.packb([b"\x80", STREET.encode(), b"", b""]),
        msgpack.packb({"home": {"street": STREET}}),
        json.dumps({"home": {"street": STREET}}).encode(),
        STREET.encode(),
    ],
)
def test_what_the_policy_hides_is_not_shown(
    hidden: tuple[tuple[str, ...], ...], data: bytes
) -> None:
    """In commands, queries, rows, replies and whatever else holds the field, by any name."""
    content = read_message(data).content
    shown = json.dumps(veil(content, hidden))
    assert STREET not in shown
    assert STREET.encode().hex()[:20] not in shown


def test_what_it_does_not_hide_is_shown(hidden: tuple[tuple[str, ...], ...]) -> None:
    """Everything else stays, or nobody could see what passes."""
    data = _sealed("insert", {"document": {"_key": "ana", "age": 41, "pin": 1}})
    shown = veil(read_message(data).content, hidden)
    assert shown["body"]["document"] == {"_key": "ana", "age": 41, "pin": "<hidden>"}
    assert veil(read_message(data).content, ()) == read_message(data).content


@pytest.mark.parametrize("text", ["", "roles: []", "a: b", "roles: {r: {rules: [1]}}", "[", "x"])
def test_a_policy_that_cannot_be_read_hides_nothing_and_shows_nothing(
    tmp_path: Path, text: str
) -> None:
    """Showing everything instead would be wrong: it ends with the file's name."""
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"policy\.yaml"):
        read_hidden(path)
    done = _run(RECORD, f"--policy={path}")
    assert (done.returncode, done.stdout) == (1, b"")


DOOR = SigningKey(bytes([3]) * 32)
SUBJECT = CommandSubject("mallku", "mallku", "khipu", "insert")


def _token(principal: str, key: SigningKey) -> bytes:
    now_s = NOW_MS // 1000
    token = ISSUER.issue(
        principal, key.public, roles=frozenset(), audience=COMMAND_AUDIENCE, now_s=now_s
    )
    return token.encode()


def _carried(asked_for: dict[str, Any], sent: dict[str, Any]) -> bytes:
    """What a door sends for a caller who proved to want `asked_for`."""
    caller = _token("mallku", KEY)
    digest = Asked("insert", "mallku", "khipu", asked_for).digest()
    text = make_proof(
        KEY,
        caller,
        method="POST",
        url="http://door/api/v1/collections/khipu/documents",
        now_s=NOW_MS // 1000,
        token_id="t1",
        command=digest,
    )
    proof = Proof.verify(text, token=caller, key=KEY.public)
    token = Evidence(_token("door", DOOR), caller, text).join()
    header = CommandHeader(
        v=1,
        kid=DOOR.kid,
        id=proof.command_id(1),
        iat=NOW_MS,
        exp=NOW_MS + 10_000,
        budget=10_000,
        attempt=1,
        op="insert",
        db="mallku",
        col="khipu",
        idem=proof.command_id(1),
        reply=inbox_prefix("mallku"),
        ath=token_hash(token),
    )
    return seal_command(SUBJECT, header, pack(sent), DOOR, token)


def test_what_a_door_carries_is_verified_by_its_callers_proof() -> None:
    """Door and caller are both named; without a proof for exactly this it is not verified."""
    wanted = {"document": {"_key": "a"}}
    honest = read_message(_carried(wanted, wanted))
    shown = prove(honest, ISSUER.trust, str(SUBJECT))
    assert (shown["verified"], shown["principal"], shown["door"]) == (True, "mallku", "door")
    assert honest.content["token"]["caller"]["sub"] == "mallku"
    assert honest.content["token"]["proof"]["htm"] == "POST"
    other = read_message(_carried(wanted, {"document": {"_key": "b"}}))
    told = prove(other, ISSUER.trust, str(SUBJECT))
    assert told["verified"] is False
    assert "cmd" in told["reason"]


VECTORS = Path(__file__).resolve().parents[1] / "vectors"


def _vectors(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("case", _vectors("commands")["cases"], ids=lambda case: case["name"])
def test_the_vectors_are_verified(case: dict[str, Any]) -> None:
    """Every command of the wire's vectors, jobs of all kinds too, with its subject or without."""
    trust = Trust.from_json(json.dumps(_vectors("tokens")["trust"]))
    message = read_message(bytes.fromhex(case["message"]))
    for subject in (case["subject"], None):
        shown = prove(message, trust, subject)
        assert shown["verified"] is True, shown
