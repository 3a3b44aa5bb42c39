"""Bytes that are made to be expensive, or to be read in two ways."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from mallku_broker.events import EventKind
from mallku_contracts import codec
from mallku_contracts.envelope import Envelope
from mallku_contracts.limits import KIB, MAX_COMMAND_BYTES, MAX_PAYLOAD_BYTES, MIB
from tests.attacks.arena import Arena, Attacker, code_of
from tests.attacks.arena import refused_by_each_worker as refused
from tests.attacks.cast import SCRATCH
from tests.integration.world import ask, exchange

pytestmark = pytest.mark.asyncio(loop_scope="session")

MAX_GROWTH_BYTES = 96 * MIB
"""How much larger a worker may become while it reads a bomb, bytes."""

MAX_CPU_S = 0.5
"""What one message may cost a worker here, seconds of its CPU; a benchmark measures closer."""

_SIZE = 2_000_000
_DOCUMENT = b"\x81\xa8document"
_TEXT = b"\xdb\x00\x01\x86\xa0" + b"a" * 100_000


def _nested(depth: int) -> bytes:
    return _DOCUMENT + b"\x81\xa1a" * depth + b"\x01"


BOMBS: dict[str, bytes] = {
    "a megabyte of nested maps": _nested(_SIZE // 3),
    "a megabyte of nested lists": _DOCUMENT + b"\x91" * _SIZE,
    "one level too deep": _nested(70),
    "a list that says to be huge": _DOCUMENT + b"\xdd\xff\xff\xff\xff",
    "many lists that say to be huge": _DOCUMENT + b"\xdd\x00\x0f\xff\xff" * 50,
    "a map that says to be huge": b"\xdf\xff\xff\xff\xff",
    "a text that says to be huge": _DOCUMENT + b"\xdb\xff\xff\xff\xff" + b"a" * 1_000,
    "lists in lists that say to be as long as allowed": (
        _DOCUMENT + b"\x92" + _TEXT + b"\xdd\x00\x01\x86\xa0" * 1_000
    ),
    "two million empty maps": _DOCUMENT + b"\xdd\x00\x1e\x00\x00" + b"\x80" * 0x1E0000,
    "two million numbers": _DOCUMENT + b"\xdd\x00\x1e\x00\x00" + b"\x01" * 0x1E0000,
    "more maps than allowed, in lists": _DOCUMENT
    + b"\x9b"
    + (b"\xdc\x27\x10" + b"\x80" * 10_000) * 11,
    "more items than allowed, in lists": _DOCUMENT
    + b"\x96"
    + (b"\xdc\xfd\xe8" + b"\x01" * 65_000) * 6,
}


@dataclass
class Costs:
    """What the workers need for something, measured from when this was made.

    Attributes:
        sizes: What each worker had in memory, bytes, by its process id.
    """

    arena: Arena
    sizes: dict[int, int]
    begun_s: float

    @classmethod
    def of(cls, arena: Arena) -> Costs:
        """Begin to measure."""
        sizes: dict[int, int] = {}
        for pid in arena.world.workers.values():
            sizes[pid] = psutil.Process(pid).memory_info().rss
            if (forget := Path(f"/proc/{pid}/clear_refs")).exists():
                forget.write_text("5")  # the highest so far (proc(5))
        return cls(arena, sizes, _cpu_s(arena))

    def check(self, messages: int) -> None:
        """Not much memory, not even for a moment, and not much time for each message."""
        assert _cpu_s(self.arena) - self.begun_s < MAX_CPU_S * messages
        for pid, size in self.sizes.items():
            assert _highest(pid) - size < MAX_GROWTH_BYTES


def _highest(pid: int) -> int:
    """The most that a process had in memory, bytes; where none tells, what it has now."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    told = [KIB * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return max([*told, psutil.Process(pid).memory_info().rss])


def _cpu_s(arena: Arena) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in arena.world.workers.values()]
    return sum(each.user + each.system for each in times)


@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_signed_body_is_a_bomb(arena: Arena, attacker: Attacker, bomb: str) -> None:
    """Refused by both workers, who grow hardly, and lose little time on it.

    The second time a worker sees it, it is a replay; so this holds for the first.
    """
    costs = Costs.of(arena)
    sent = attacker.caller.seal("insert", BOMBS[bomb], SCRATCH)
    codes = await refused(attacker.connection, sent)
    assert set(codes) == {"malformed_body"}
    costs.check(codes.total())
    await arena.told(attacker.principal, codes)


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("part", ["the whole message", "protected"])
async def test_what_nobody_signed_is_a_bomb(
    arena: Arena, attacker: Attacker, bomb: str, part: str
) -> None:
    """In the frame and in the protected part, which are read before anything is proven."""
    sent = attacker.caller.seal("insert", {"document": {}}, SCRATCH)
    data = BOMBS[bomb]
    if part == "protected":
        data = Envelope(BOMBS[bomb], sent.body, bytes(64), b"token").join()
    costs = Costs.of(arena)
    codes = await refused(attacker.connection, sent, data=data)
    assert set(codes) <= {"malformed_envelope", "unsupported_version"}
    costs.check(codes.total())


DOUBTFUL: dict[str, bytes] = {
    "an argument twice": b"\x82\xa8document\x80\xa8document\x81\xa1a\x01",
    "a field twice": _DOCUMENT + b"\x82\xa5owner\xa1a\xa5owner\xa1b",
    "an extension type": _DOCUMENT + b"\x81\xa1a\xd4\x01\x00",
    "a timestamp": _DOCUMENT + b"\x81\xa1a\xd6\xff\x00\x00\x00\x00",
    "bytes for text": _DOCUMENT + b"\x81\xa1a\xc4\x01x",
    "bytes for a key": _DOCUMENT + b"\x81\xc4\x01a\x01",
    "a number for a key": _DOCUMENT + b"\x81\x01\x01",
    "text that is no UTF-8": _DOCUMENT + b"\x81\xa1a\xa2\xed\xa0",
    "no number": codec.pack_trusted({"document": {"a": float("nan")}}),
    "an infinite number": codec.pack_trusted({"document": {"a": float("inf")}}),
    "something behind it": _DOCUMENT + b"\x80\xc0",
    "nothing": b"",
    "a list": b"\x91\x80",
    "the byte that is never used": b"\xc1",
}


@pytest.mark.parametrize("body", DOUBTFUL)
async def test_a_signed_body_can_be_read_in_two_ways(
    arena: Arena, attacker: Attacker, body: str
) -> None:
    """Keys twice, extension types and whatever else JSON does not know: refused, not repaired."""
    sent = attacker.caller.seal("insert", DOUBTFUL[body], SCRATCH)
    codes = Counter[str]()
    for _ in range(2):  # each time signed anew
        codes[code_of(await ask(attacker.connection, sent))] += 1
        sent = attacker.caller.seal("insert", DOUBTFUL[body], SCRATCH)
    assert codes == Counter({"malformed_body": 2})
    await arena.told(attacker.principal, codes)


async def test_a_field_of_the_header_stands_twice(arena: Arena, attacker: Attacker) -> None:
    """One reader would take the first and another the last: both workers take neither."""
    sent = attacker.caller.seal("get", {"document": "k"}, SCRATCH)
    protected = sent.envelope.protected
    doubled = bytes([protected[0] + 1]) + protected[1:] + b"\xa2op\xa6delete"
    data = Envelope(doubled, sent.body, sent.envelope.signature, attacker.caller.token).join()
    assert set(await refused(attacker.connection, sent, data=data)) == {"malformed_envelope"}


@pytest.mark.parametrize("size", [MAX_COMMAND_BYTES + 1, MAX_PAYLOAD_BYTES - 4_096])
async def test_a_command_is_too_large(arena: Arena, attacker: Attacker, size: int) -> None:
    """Above its limit a command is refused by its size alone."""
    sent = attacker.caller.seal("insert", {"document": {}}, SCRATCH)
    codes = Counter({code_of(await ask(attacker.connection, sent, data=b"\x94" * size)): 1})
    assert codes == Counter({"message_too_large": 1})
    await arena.told(attacker.principal, codes)


async def test_a_message_is_larger_than_the_broker_takes(arena: Arena) -> None:
    """The server closes the sender's connection, and nobody else's."""
    async with arena.attacker() as attacker:
        line = f"PUB {attacker.subject('insert')} {MAX_PAYLOAD_BYTES + 1}\r\n"
        await attacker.connection._send_command(line.encode())
        await attacker.connection._flush_pending()
        await attacker.witness.sees(EventKind.DISCONNECTED)
        await arena.served()
        await arena.told(attacker.principal, Counter())


async def test_a_subject_is_no_text(arena: Arena, attacker: Attacker) -> None:
    """Bytes that are no UTF-8 are a token to a broker: refused, and both workers go on."""
    for _ in range(20):
        subject = f"mallku.v1.cmd.{attacker.principal}.mallku.".encode() + b"\xff\xfe.get"
        inbox = attacker.inbox().encode() + b".\xff"
        await attacker.connection._send_command(b"PUB " + subject + b" " + inbox + b" 1\r\nx\r\n")
    await attacker.connection.flush()
    about = f"mallku.v1.cmd.{attacker.principal}.mallku.\ufffd\ufffd.get"
    record = await arena.tells("unknown", "invalid_subject", about)
    assert record.id == ""


async def test_bombs_come_in_floods(arena: Arena, attacker: Attacker) -> None:
    """While one sends nothing else, everybody else is answered in between."""
    bodies = [
        "a megabyte of nested maps",
        "two million empty maps",
        "more items than allowed, in lists",
    ]
    sent = [
        attacker.caller.seal("insert", BOMBS[bodies[number % len(bodies)]], SCRATCH)
        for number in range(18)
    ]
    flood = asyncio.gather(*(ask(attacker.connection, one) for one in sent))
    caller, took = arena.world.caller("bystander"), list[float]()
    while not flood.done() or not took:
        begun = time.monotonic()
        await exchange(arena.bystander, caller.seal("count", {}, SCRATCH))
        took.append(time.monotonic() - begun)
    replies = await flood
    assert {code_of(reply) for reply in replies} == {"malformed_body"}
    assert max(took) < 3.0
