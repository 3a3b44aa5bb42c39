"""A history says what was asked and what was told, in time, and never stands in the way."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from mallku_client import SecuredDatabaseInterface
from mallku_client.answers import Answer
from mallku_client.history import History, RecordingCaller, outcome_of
from mallku_client.signer import Command
from mallku_contracts import codec
from mallku_contracts.errors import (
    Busy,
    ClientClosed,
    ConfigurationError,
    DeadlineExceeded,
    OutcomePending,
    OutcomeUnknown,
    ResultTooLarge,
)
from mallku_contracts.subjects import CommandSubject
from mallku_deploy.checking.history import commands_of, read_histories
from tests.client.world import MemoryGateway, Opened, World

SUBJECT = CommandSubject.build("mallku", "mallku", "anchors", "insert")
DOCUMENT = {"_key": "k", "text": "Qhapaq Ñan", "n": 1.5}


def _command(key: str = "key") -> Command:
    return Command(SUBJECT, codec.pack({"document": DOCUMENT}), "first", key, mutates=True)


def _answer(**fields: Any) -> Answer:
    meta = {"_id": "anchors/k", "_key": "k", "_rev": "1"}
    receipt: Any = {"stream": "S", "sequence": 7, "hash": bytes(2)}
    return Answer(meta, "second", "key", receipt, attempts=2, **fields)


def test_a_call_is_told_from_beginning_to_end(tmp_path: Path) -> None:
    """What was asked stands there before the answer, and nobody else may read it."""
    path = tmp_path / "calls.jsonl"
    history = History(path)
    number = history.begin(_command())
    [begun] = read_histories(path.read_bytes().splitlines(keepends=True)).calls
    assert (begun.outcome, begun.end, begun.arguments) == (
        "outcome_unknown",
        None,
        {"document": DOCUMENT},
    )
    history.answered(number, _answer())
    history.close()
    [call] = read_histories(path.read_bytes().splitlines(keepends=True)).calls
    assert (call.outcome, call.answered_id, call.attempts) == ("done", "second", 2)
    assert call.receipt == {"stream": "S", "sequence": 7, "hash": "0000"}
    assert call.end is not None
    assert call.end >= call.begin
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Busy("no room"), "failed"),
        (DeadlineExceeded("too late; nothing was done"), "failed"),
        (OutcomeUnknown("who knows"), "outcome_unknown"),
        (OutcomePending("done"), "done"),
        (ResultTooLarge("done", details={"committed": True}), "done"),
        (ResultTooLarge("not done"), "failed"),
        (asyncio.CancelledError(), "outcome_unknown"),
        (ValueError("a surprise"), "outcome_unknown"),
    ],
)
def test_what_a_caller_knows_after_an_error(error: BaseException, outcome: str) -> None:
    """Only a coded refusal says that nothing was done."""
    assert outcome_of(error) == outcome


def test_a_history_without_room_says_so_and_ends(tmp_path: Path) -> None:
    """The caller's work goes on; the check is told that calls are missing."""
    path = tmp_path / "calls.jsonl"
    history = History(path, max_bytes=600)
    for _ in range(5):
        history.ended(history.begin(_command()), Busy("no room"))
    found = read_histories(path.read_bytes().splitlines(keepends=True))
    assert found.cut == {history.client}
    assert json.loads(path.read_text().splitlines()[-1])["event"] == "cut"


def test_several_clients_share_a_file_and_a_killed_one_leaves_half_a_line(tmp_path: Path) -> None:
    """Lines never mix, and a half one at the end is passed over."""
    path = tmp_path / "calls.jsonl"
    first, second = History(path), History(path)
    for history in (first, second, first):
        history.answered(history.begin(_command()), _answer())
    with path.open("ab") as file:
        file.write(b'{"v":1,"event":"begin","cl')
    calls = read_histories(path.read_bytes().splitlines(keepends=True)).calls
    assert {call.client for call in calls} == {first.client, second.client}
    assert len(calls) == 3


def test_what_is_no_history_is_refused_by_its_line() -> None:
    """With the number of the line, and why."""
    with pytest.raises(ConfigurationError, match="line 2"):
        read_histories([b"", b'{"v": 1, "event": "end", "client": "c", "call": 1, "at": 1}\n'])
    with pytest.raises(ConfigurationError, match="version 2"):
        read_histories([b'{"v": 2, "client": "c", "call": 1}\n'])


def test_a_file_that_cannot_be_written_is_a_wrong_setting(tmp_path: Path) -> None:
    """It is said when the client connects, not when it is asked."""
    with pytest.raises(ConfigurationError, match="history file"):
        History(tmp_path / "nowhere" / "calls.jsonl")


def test_calls_with_one_key_are_one_command(tmp_path: Path) -> None:
    """Begun with the first of them, done when the first was told so."""
    path = tmp_path / "calls.jsonl"
    history = History(path)
    lost = history.begin(_command())
    again = history.begin(_command())
    history.answered(again, _answer(replayed=True))
    history.ended(lost, OutcomeUnknown("who knows"))
    calls = read_histories(path.read_bytes().splitlines(keepends=True)).calls
    [command] = commands_of(calls)
    assert (command.outcome, command.begin) == ("done", calls[0].begin)


@pytest.mark.parametrize("silent", [True, False])
async def test_a_call_that_waits_when_the_client_closes_has_its_end(
    world: World, tmp_path: Path, silent: bool
) -> None:
    """With what its caller is told; the file is closed behind the last of them."""
    path = tmp_path / "calls.jsonl"
    arrived, go = asyncio.Event(), asyncio.Event()

    async def busy(gateway: MemoryGateway, command: Opened) -> bytes | None:
        arrived.set()
        if silent:  # an attempt is under way
            await go.wait()
        return gateway.reply(command, {"error": Busy("full", retry_after=50).to_wire()})

    world.gateway.script = [busy]
    db = await world.connect(history_file=path)
    task = asyncio.create_task(db.collection("anchors").insert({}, timeout=59))
    async with asyncio.timeout(10):
        await arrived.wait()
        await db.close()
        go.set()
        with pytest.raises(ClientClosed):
            await task
    [call] = read_histories(path.read_bytes().splitlines(keepends=True)).calls
    assert (call.outcome, call.code) == ("failed", "client_closed")
    assert _history_of(db)._file == -1


def _history_of(db: SecuredDatabaseInterface) -> History:
    caller = db._commands._caller
    assert isinstance(caller, RecordingCaller)
    return caller.history
