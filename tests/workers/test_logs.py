"""What stands in a worker's log, what never does, and how its level changes while it runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
import structlog

from mallku_broker.nkeys import new_nkey
from mallku_contracts.errors import Unavailable
from mallku_contracts.keys import SigningKey
from mallku_workers import logs
from tests.support.simulated_caller import make_token

TOKEN = make_token(SigningKey(b"l" * 32), principal="mallku").decode()
SEED = new_nkey()[0]
PEM = SigningKey(b"l" * 32).to_pem()
DOCUMENT = "a-password-in-a-document"


@pytest.fixture(autouse=True)
def _as_before() -> Any:
    before = structlog.get_config()
    yield
    structlog.contextvars.clear_contextvars()
    structlog.configure(**before)


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The lines that were written, each of them JSON."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_says_who_when_and_how_bad(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line has its level, its time in UTC and what always stands there."""
    logs.configure("info", worker="w1")
    structlog.get_logger().warning("trail_silent", pending=3)
    [line] = logged(capsys)
    assert line["timestamp"].endswith("Z")
    del line["timestamp"]
    assert line == {"event": "trail_silent", "level": "warning", "worker": "w1", "pending": 3}


def test_the_level_changes_while_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Loggers that were used before follow a change at once, to more lines and to fewer."""
    threshold, log = logs.configure("info"), structlog.get_logger()
    log.debug("one")
    log.info("two")
    threshold.level = "debug"
    log.debug("three")
    threshold.level = "error"
    log.warning("four")
    log.error("five")
    assert [line["event"] for line in logged(capsys)] == ["two", "three", "five"]


@pytest.mark.parametrize(
    "secret", [TOKEN, SEED, PEM, PEM[:80]], ids=["token", "seed", "key", "part of a key"]
)
def test_what_looks_like_a_secret_is_cut_out(
    capsys: pytest.CaptureFixture[str], secret: str
) -> None:
    """Wherever it stands: in the event, in a value, in a list, in the text of an object."""

    class Shown:
        def __str__(self) -> str:
            return f"shown {secret}"

    logs.configure("info")
    structlog.get_logger().info(f"event {secret}", value=secret, several=[secret, {"a": secret}])
    structlog.get_logger().info("object", shown=Shown(), raw=secret.encode())
    written = capsys.readouterr().err
    assert secret[:40] not in written
    assert secret.splitlines()[-1][:40] not in written or len(secret.splitlines()) == 1
    assert written.count("[cut out]") >= 4


def test_a_password_in_a_url_is_cut_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a URL the host remains, to find the way."""
    logs.configure("info")
    structlog.get_logger().info("connecting", url="nats://alice:open-sesame@broker:4222")
    [line] = logged(capsys)
    assert "open-sesame" not in line["url"]
    assert line["url"].endswith("@broker:4222")


def test_an_exception_tells_where_and_not_what(capsys: pytest.CaptureFixture[str]) -> None:
    """What a surprise says may be what a caller wrote: kinds and places stand there, no words."""

    def inner() -> None:
        raise KeyError(DOCUMENT)

    logs.configure("info")
    try:
        try:
            inner()
        except KeyError as error:
            raise ValueError(DOCUMENT) from error
    except ValueError as error:
        structlog.get_logger().error("unexpected", exc_info=error)
        structlog.get_logger().exception("again")
    first, second = logged(capsys)
    for line in (first, second):
        assert [one["kind"] for one in line["exception"]] == ["ValueError", "KeyError"]
        assert line["exception"][1]["at"][-1].endswith(" inner")
        assert DOCUMENT not in json.dumps(line)


def test_what_is_made_to_be_read_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Our own errors tell their code, the operating system's what it always says."""
    logs.configure("info")
    log = structlog.get_logger()
    log.error("one", exc_info=Unavailable(f"about {DOCUMENT}"))
    log.error("two", exc_info=FileNotFoundError(2, DOCUMENT, DOCUMENT))
    one, two = logged(capsys)
    assert one["exception"][0]["says"] == "unavailable"
    assert two["exception"][0]["says"] == "No such file or directory"
    assert DOCUMENT not in json.dumps([one, two])


def test_a_circle_of_causes_ends(capsys: pytest.CaptureFixture[str]) -> None:
    """Exceptions that are each other's cause are told once each."""
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    logs.configure("info")
    structlog.get_logger().error("circle", exc_info=first)
    [line] = logged(capsys)
    assert len(line["exception"]) == 2


def test_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """The other format has the same in it, and the same left out."""
    logs.configure("info", "console", worker="w1")
    structlog.get_logger().info("ready", token=TOKEN, store="embedded")
    written = capsys.readouterr().err
    assert "ready" in written
    assert "store=embedded" in written
    assert TOKEN[:40] not in written
