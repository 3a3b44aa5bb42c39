"""Somebody writes headers that the server, a worker or a stream might act on."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from mallku_broker.headers import decode_headers
from mallku_broker.streams import JOBS
from tests.attacks.arena import Arena, Attacker, eventually
from tests.attacks.cast import SCRATCH, VAULT, VICTIM
from tests.integration.world import EVENT_S, exchange
from tests.support.simulated_caller import Sent, read_answer

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _block(*lines: str) -> bytes:
    return "\r\n".join(["NATS/1.0", *lines, "", ""]).encode()


async def _send(attacker: Attacker, sent: Sent, header: bytes) -> tuple[bytes, dict[str, str]]:
    """Send with a header block as it stands; the reply's body and headers."""
    heard: asyncio.Queue[tuple[bytes, bytes | None]] = asyncio.Queue()
    inbox = attacker.inbox(sent.header.id)
    await attacker.connection.listen(inbox, lambda _s, _r, b, h: heard.put_nowait((b, h)))
    await attacker.connection.flush()
    attacker.connection.post(str(sent.subject), sent.data, reply=inbox, header=header)
    body, answered = await asyncio.wait_for(heard.get(), EVENT_S)
    return body, decode_headers(answered)


FORGED = {
    "who asks": ('Nats-Request-Info: {"acc":"RECORDS","user":"operator","nonce":"x"}',),
    "what is asked": ("Mallku-Id: mine", "Mallku-Operation: truncate", "Mallku-Principal: mallku"),
    "what the trail keeps": (
        "Nats-Msg-Id: i.mallku.0",
        "Nats-Rollup: all",
        "Nats-Expected-Last-Sequence: 0",
        "Nats-TTL: 1s",
    ),
    "a status of the server": ("Status: 503", "Description: No Responders"),
    "an answer": ("Nats-Service-Error: none", "Nats-Service-Error-Code: 0"),
    "a trace": ("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",),
    "lines in a line": ("X: a\rNats-Msg-Id: b\nNats-Rollup: all", "no colon", ": no name", "X" * 9),
    "no text at all": ("X: \x00\x7f",),
}


@pytest.mark.parametrize("forged", FORGED)
async def test_headers_of_a_command_are_forged(
    arena: Arena, attacker: Attacker, forged: str
) -> None:
    """Workers believe none: the command is what was signed, by whom it was signed."""
    sent = attacker.caller.seal("insert", {"document": {"kind": "headed"}}, SCRATCH)
    body, headers = await _send(attacker, sent, _block(*FORGED[forged]))
    assert read_answer(body, sent).result["_key"]
    assert headers == {}
    records = await arena.told(attacker.principal, Counter(intent=1, done=1))
    assert {record.subject for record in records} == {str(sent.subject)}
    assert {record.id for record in records} == {sent.header.id}


@pytest.mark.parametrize(
    "place",
    [
        f"_INBOX_mallku.{VICTIM}.known.1",
        f"mallku.v1.audit.{VICTIM}.mallku.vault.get.done",
        f"mallku.v1.cmd.{VICTIM}.mallku.vault.truncate",
        "$KV.mallku_policy.current",
        "$JS.API.STREAM.DELETE.MALLKU_AUDIT",
        "_INBOX_mallku.inspector.x",
    ],
)
@pytest.mark.parametrize("only", [False, True])
async def test_a_trace_is_asked_for_elsewhere(
    arena: Arena, attacker: Attacker, victim: Attacker, place: str, only: bool
) -> None:
    """The server's own trace of a message goes nowhere where its sender may not publish."""
    heard: list[str] = []
    inbox = f"_INBOX_mallku.{VICTIM}.known.1"
    await victim.connection.listen(inbox, lambda s, _r, _b, _h: heard.append(s))
    await victim.connection.flush()
    sent = attacker.caller.seal("count", {}, SCRATCH)
    lines = [f"Nats-Trace-Dest: {place}", *(["Nats-Trace-Only: true"] if only else [])]
    attacker.connection.post(
        str(sent.subject), sent.data, reply=attacker.inbox(), header=_block(*lines)
    )
    await attacker.connection.flush()
    await arena.served()
    await victim.connection.flush()
    assert heard == []
    # It reached no worker either: the same transmission is no replay.
    assert isinstance((await exchange(attacker.connection, sent)).result, int)


@pytest.mark.parametrize(
    "lines",
    [
        ("Nats-Rollup: all",),
        ("Nats-Rollup: sub",),
        ("Nats-TTL: 1s",),
        ("Nats-Incr: +1",),
        ("Nats-Batch-Id: x", "Nats-Batch-Sequence: 1", "Nats-Batch-Commit: 1"),
        ("Nats-Schedule: @every 1s", f"Nats-Schedule-Target: mallku.v1.job.{VICTIM}.x.y.z"),
        ("Nats-Expected-Stream: MALLKU_AUDIT",),
    ],
)
async def test_headers_of_a_job_change_the_jobs_of_others(
    arena: Arena, attacker: Attacker, lines: tuple[str, ...]
) -> None:
    """Roll-ups, lives, counters, batches, schedules: the stream of jobs knows none of them."""
    stream = f"$JS.API.STREAM.INFO.{JOBS}"
    before = json.loads((await arena.administrator.request(stream, b"", timeout=5)).data)["state"]
    kept: asyncio.Queue[bytes | None] = asyncio.Queue()
    stored = f"mallku.v1.stored.{attacker.principal}.>"
    await attacker.connection.listen(stored, lambda _s, _r, _b, h: kept.put_nowait(h))
    await attacker.connection.flush()
    for header in (_block(*lines), _block("Mallku-Id: plain")):
        attacker.connection.post(attacker.job("insert"), b"job", header=header)
    # One after the other: when the plain one is kept, the other one was refused.
    said = await asyncio.wait_for(kept.get(), EVENT_S)
    assert said is not None
    assert b"Mallku-Id: plain" in said
    after = json.loads((await arena.administrator.request(stream, b"", timeout=5)).data)["state"]
    assert after["last_seq"] == before["last_seq"] + 1


async def test_a_job_is_stored_under_the_id_of_a_record(arena: Arena, attacker: Attacker) -> None:
    """The memory of ids is each stream's own: a job under an intent's id keeps no intent out."""
    sent = attacker.caller.seal("insert", {"document": {"kind": "named"}}, SCRATCH)
    header = _block(f"Nats-Msg-Id: i.{attacker.principal}.{sent.header.id}")
    _, before = await arena.stream(JOBS)
    attacker.connection.post(attacker.job("insert"), b"job", reply=attacker.inbox(), header=header)
    await attacker.connection.flush()

    async def is_stored() -> bool:
        return (await arena.stream(JOBS))[1] > before

    await eventually("the job", is_stored)
    assert (await exchange(attacker.connection, sent)).result["_key"]
    await arena.told(attacker.principal, Counter(intent=1, done=1, malformed_envelope=1))


@pytest.mark.parametrize(
    "name",
    [
        "a\r\nNats-Msg-Id: x",
        "a\nNats-Service-Error-Code: 0",
        "a\r\n\r\n{}",
        "\u2028\u0085\x00",
        "é" * 400,
    ],
)
async def test_an_error_is_made_to_write_headers(
    arena: Arena, attacker: Attacker, name: str
) -> None:
    """What a caller puts into a name comes back in a header as one short printable line."""
    sent = attacker.caller.seal("get", {"document": "k", name: 1}, SCRATCH)
    body, headers = await _send(attacker, sent, b"")
    assert read_answer(body, sent).error.code == "invalid_arguments"
    assert headers.keys() == {"Nats-Service-Error", "Nats-Service-Error-Code"}
    assert headers["Nats-Service-Error"].isprintable()
    assert headers["Nats-Service-Error-Code"] == "401"


async def test_protocol_lines_are_smuggled_into_a_subject(arena: Arena, attacker: Attacker) -> None:
    """Lines of the NATS protocol are held to the sender's own permissions, however they came."""
    stolen = f"mallku.v1.cmd.{VICTIM}.mallku.{VAULT}.truncate"
    lines = f"{attacker.subject('get')} 0\r\n\r\nPUB {stolen} {attacker.inbox()} 2\r\n{{}}\r\n"
    await attacker.connection._send_command(b"PUB " + lines.encode())
    await attacker.refused_to_publish("mallku.v1.audit.x.x.x.x.done")
    assert stolen.lower() in {event.subject for event in attacker.witness.events}
    assert not [r for r in await arena.read_trail() if r.subject == stolen]
