"""What the nastiest single messages cost a worker, from the bus to the store's door.

`python -m tests.benchmarks.worst_case` prints the CPU time of each, the best of several tries, in
a process whose collector is set as a worker's. Exits non-zero when one costs more than
`MAX_CPU_MS`. What the store then does with an accepted command is not in it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import msgpack

from mallku_contracts import arguments as a
from mallku_contracts.aql.binding import MAX_QUERY_COLLECTIONS
from mallku_contracts.aql.lexer import MAX_QUERY_CHARS, MAX_QUERY_TOKENS
from mallku_contracts.limits import (
    ENTRY_ITEMS,
    ITEMS_FOR_EACH,
    MAX_BATCH_DOCUMENTS,
    MAX_COMMAND_BYTES,
    MAX_CONTAINER_ITEMS,
    MAX_CONTAINERS,
    MAX_DEPTH,
    MAX_MAP_ENTRIES,
    MAX_PROVEN_BYTES,
    MAX_PROVEN_CONTAINERS,
    MAX_PROVEN_FLOATS,
)
from mallku_workers.collecting import spare_the_collector
from tests.fuzz.gateway import CALLERS, Gateway, Handled, seal, seal_carried
from tests.fuzz.measure import MAX_CPU_MS, cpu_ms
from tests.support.simulated_caller import Sent

TRIES: Final = 7
"""Tries of each message; the least counts, as a pause of the machine is not the message's."""

_ROOM: Final = 8 * 1_024
"""What a message has besides its body, bytes."""

_BODY: Final = MAX_COMMAND_BYTES - _ROOM
_ITEMS: Final = MAX_CONTAINERS * ITEMS_FOR_EACH
_ENTRIES: Final = _ITEMS // ENTRY_ITEMS
_HEAD: Final = b"\x81\xa8document\x81\xa1a"

Case = tuple[str, str, object]
"""What is nasty about it, the operation, its arguments or the bytes of its body."""


def _array(count: int, item: bytes) -> bytes:
    return b"\xdd" + count.to_bytes(4) + item * count


def _map(entries: list[bytes]) -> bytes:
    return b"\xdf" + len(entries).to_bytes(4) + b"".join(entries)


def _names(count: int) -> list[bytes]:
    return [msgpack.packb(f"{number:05d}") + b"\x01" for number in range(count)]


def _towers(part: Callable[[bytes], bytes], room: int) -> bytes:
    """As many levels of `part` around each other as depth and room allow."""
    inside = b"\x01"
    for _ in range(MAX_DEPTH - 2):
        outside = part(inside)
        if len(outside) > room:
            break
        inside = outside
    return _HEAD + inside


def _wide_level(entry: bytes, inside: bytes) -> bytes:
    """A map at its limit whose names are all the same, which is noticed when it is complete."""
    return _map([entry] * (MAX_MAP_ENTRIES - 1) + [b"\xa1z" + inside])


def _long_level(inside: bytes) -> bytes:
    count = 33_000
    return b"\xdd" + count.to_bytes(4) + b"\xa0" * (count - 1) + inside


def bodies() -> Iterator[Case]:
    """What stalls whoever unpacks it."""
    document = _HEAD
    yield "one text", "insert", document + b"\xdb" + (_BODY - 20).to_bytes(4) + b"x" * (_BODY - 20)
    emoji = "😀".encode() * ((_BODY - 20) // 4)
    yield "one text, all emoji", "insert", document + b"\xdb" + len(emoji).to_bytes(4) + emoji
    yield "announces gigabytes", "insert", document + b"\xdd\xff\xff\xff\xff" * (_BODY // 5 - 2)
    yield "nested without end", "insert", document + b"\x91" * (_BODY - 20)
    yield "empty maps", "insert", document + _array(MAX_CONTAINERS - 3, b"\x80")
    yield "maps of one", "insert", document + _array(MAX_CONTAINERS - 3, b"\x81\xa1a\x01")
    yield (
        "maps of one, too many",
        "insert",
        document + _array(MAX_CONTAINER_ITEMS, b"\x81\xa1a\x01"),
    )
    pair = b"\x82\xa1a\x01\xa1b\xcb\x3f\xf8" + bytes(6)
    yield "maps of two", "insert", document + _array(MAX_CONTAINERS - 3, pair)
    yield "arrays of one", "insert", document + _array(MAX_CONTAINERS - 3, b"\x91\x01")
    tower = b"\x91" * (MAX_DEPTH - 3) + b"\x01"
    count = (MAX_CONTAINERS - 3) // (MAX_DEPTH - 3)
    yield "deep arrays", "insert", document + _array(count, tower)
    floats = b"\xcb\x3f\xf0" + bytes(6)
    half = _array(MAX_CONTAINER_ITEMS - 8, floats)
    yield "floats", "insert", document + b"\x92" + half + half
    wide = _map(_names(MAX_MAP_ENTRIES))
    many = (_ITEMS - 100) // (MAX_MAP_ENTRIES * ENTRY_ITEMS)
    yield "wide maps", "insert", document + _array(many, wide)
    yield "wide maps, too many", "insert", document + _array(_BODY // len(wide) - 1, wide)
    same = partial(_wide_level, b"\xa1a\x01")
    yield "wide maps in each other, a name twice", "insert", _towers(same, _BODY)
    yield "long arrays in each other", "insert", _towers(_long_level, _BODY)


def lists() -> Iterator[Case]:
    """Arguments at their limits, and wrong in as many places as there are."""
    most = MAX_BATCH_DOCUMENTS
    entries = (_ITEMS - most) // ENTRY_ITEMS // most
    small = {str(number): number for number in range(min(entries, 8))}
    yield "a batch of documents", "insert-many", {"documents": [small] * (most - 1)}
    padded = {"a": "x" * (_BODY // most - 20), "b": 1}
    yield "a batch of two mebibytes", "insert-many", {"documents": [padded] * (most - 1)}
    yield "a batch of numbers", "insert-many", {"documents": [1] * most}
    yield "keys", "get-many", {"documents": ["k" * 190] * most}
    yield "keys in maps", "delete-many", {"documents": [{"_key": "k"}] * most}
    yield "numbers for keys", "get-many", {"documents": [1] * most}
    names = {f"{'f' * 500}{number}": number for number in range(a.MAX_FILTERS)}
    yield "filters", "find", {"filters": names, "sort": [{"sort_by": "x" * 500}] * 16}
    yield "wide filters", "find", {"filters": {str(n): [1] * 1_500 for n in range(a.MAX_FILTERS)}}
    long = {"f" * 513 + str(number): 1 for number in range(4_000)}
    yield "names of fields, too long", "count", {"filters": long}
    yield "unknown arguments", "insert", dict.fromkeys(map(str, range(MAX_MAP_ENTRIES)), 1)
    yield "sorts of nothing", "find", {"sort": [{}] * (MAX_CONTAINERS - 3)}
    step = {"operation": "insert", "collection": "fc_a", "arguments": {"document": {"a": 1}}}
    yield "steps", "transaction", {"steps": [step] * a.MAX_TRANSACTION_STEPS}
    scattered = [step | {"collection": f"fc_{n}"} for n in range(a.MAX_TRANSACTION_STEPS)]
    yield "steps, each elsewhere", "transaction", {"steps": scattered}
    batch = {"operation": "insert-many", "collection": "fc_a"}
    yield (
        "steps of batches",
        "transaction",
        {"steps": [batch | {"arguments": {"documents": [{"a": 1}] * 8}}] * 1_000},
    )
    yield "steps that are none", "transaction", {"steps": [{"x": 1}] * (MAX_CONTAINERS - 3)}
    wide = {"x" + str(number): 1 for number in range(MAX_MAP_ENTRIES)}
    yield "a step with many names", "transaction", {"steps": [wide]}
    ends = {"from_vertex_collections": ["v"] * 256, "to_vertex_collections": ["w"] * 256}
    edges = [{"edge_collection": f"e{n}", **ends} for n in range(a.MAX_EDGE_DEFINITIONS)]
    yield "a graph", "create-graph", {"name": "g", "edge_definitions": edges}
    wrong = {"name": "g", "orphan_collections": [1] * MAX_CONTAINER_ITEMS}
    yield "numbers for collections", "create-graph", wrong
    many = [f"c{number}" for number in range(a.MAX_GRAPH_COLLECTIONS)]
    yield "collections of a graph", "create-graph", {"name": "g", "orphan_collections": many}


def queries() -> Iterator[Case]:
    """Texts with as many words as a query may have, and as long as one may be."""
    count = MAX_QUERY_TOKENS

    def listed(item: str, words: int) -> str:
        return f"RETURN [{','.join([item] * (count // (words + 1) - 4))}]"

    texts = {
        "numbers": listed("1", 1),
        "objects": listed("{}", 2),
        "calls": listed("NOOPT(1)", 4),
        "subqueries": listed("(RETURN 1)", 4),
        "traversals": listed("(FOR v IN 1..2 OUTBOUND 'a/b' e RETURN v)", 13),
        "expansions": listed("[][*]", 5),
        "variables": " ".join(f"LET a{n} = 1" for n in range(count // 4 - 2)) + " RETURN 1",
        "loops": " ".join(f"FOR a{n} IN fc_a" for n in range(count // 4 - 2)) + " RETURN 1",
        "collections": f"RETURN [{','.join(f'c{n}' for n in range(MAX_QUERY_COLLECTIONS))}]",
        "too many collections": f"RETURN [{','.join(f'c{n}' for n in range(count // 2 - 4))}]",
        "sorts": f"FOR a IN c SORT {','.join(['a.b'] * (count // 4 - 4))} RETURN 1",
        "groups": "FOR a IN c COLLECT "
        + ",".join(f"b{n} = a" for n in range(count // 4 - 5))
        + " RETURN 1",
        "terms": f"RETURN {'+'.join(['1'] * (count // 2 - 4))}",
        "negations": f"RETURN {'!' * (count - 4)}1",
        "no end": f"RETURN [{','.join(['1'] * (count // 2 - 4))}",
        "a long string": f"RETURN '{chr(92) + 'u00e9'}{'x' * (MAX_QUERY_CHARS - 40)}'",
        "escapes": f"RETURN '{(chr(92) + 'u00e9') * (MAX_QUERY_CHARS // 6 - 4)}'",
        "comments": "/**/ " * (MAX_QUERY_CHARS // 5 - 4) + "RETURN 1",
        "new lines": "\n" * (MAX_QUERY_CHARS - 99) + "RETURN 1",
        "words beyond the most": "RETURN [" + "1," * (MAX_QUERY_CHARS // 2 - 10) + "1]",
    }
    for name, text in texts.items():
        # A new text for every try, or the book of known queries would answer.
        yield f"a query: {name}", "aql", {"query": text}
    binds = {f"b{number}": [1.5] * 40 for number in range(count // 2 - 4)}
    text = f"RETURN [{','.join(f'@{name}' for name in binds)}]"
    yield "a query: bind values", "aql", {"query": text, "bind_vars": binds}


def carried() -> Iterator[Case]:
    """What a door may carry at most, and what is slow to spell as the JSON of a proof."""
    room = MAX_PROVEN_BYTES - _ROOM
    most, items = MAX_PROVEN_FLOATS, MAX_PROVEN_CONTAINERS * ITEMS_FOR_EACH - 100
    texts = {"control characters": "\x01", "quotation marks": '"', "emoji": "😀"}
    for name, char in texts.items():
        text = char * (room // len(char.encode()))
        yield name, "insert", {"document": {"a": text}}
        yield f"{name}, and a number", "insert", {"document": {"a": text, "b": 1e-7}}
    yield "two mebibytes", "insert", {"document": {"a": "\x01" * (_BODY - 20)}}
    numbers = {
        "small floats": 1.2345678901234567e-6,
        "large floats": 1.2345678901234567e20,
        "vast floats": -1.2345678901234567e-300,
    }
    for name, number in numbers.items():
        short = [number + number * each / 1e6 for each in range(most)]
        yield name, "insert", {"document": {"a": short}}
        yield (
            f"{name}, all else numbers",
            "insert",
            {"document": {"a": short + [1] * (items - most)}},
        )
        escaped = ["\x01" * 20] * (items - most)
        yield f"{name}, all else texts", "insert", {"document": {"a": short + escaped}}
        yield f"{name}, too many", "insert", {"document": {"a": short * 2}}
    maps = [{"a": 1.5, "b": 1}] * (MAX_PROVEN_CONTAINERS - 3)
    yield "maps of two", "insert", {"document": {"a": maps}}
    yield "a batch of maps", "insert-many", {"documents": maps}
    vast, left = numbers["vast floats"], items - most
    step = {"operation": "insert-many", "collection": "fc_a"}
    filled = step | {"arguments": {"documents": [{"a": 1}, {"a": [vast] * 5}]}}
    count = MAX_PROVEN_CONTAINERS // 6 - 1
    yield "full steps", "transaction", {"steps": [filled] * count}
    for name, item in {"subqueries": "(RETURN 1)", "objects": "{}", "numbers": "1"}.items():
        words = 1 + 3 * (name == "subqueries") + (name == "objects")
        text = f"RETURN [@b,{','.join([item] * (MAX_QUERY_TOKENS // (words + 1) - 6))}]"
        binds = {"b": [vast] * most + [1] * left}
        yield f"a query: {name}, and values", "aql", {"query": text, "bind_vars": binds}


def _sealed(
    caller: Any, operation: str, body: object, sign: Callable[[Any, str, object], Sent] = seal
) -> list[Sent]:
    """The message once for every try; queries differ in a blank, so that none is known."""
    if not isinstance(body, dict) or "query" not in body:
        return [sign(caller, operation, body)] * TRIES
    kind = CALLERS.index(caller) + len(CALLERS) * (sign is seal_carried)
    blank = " \n\t\r"[kind]
    return [
        sign(caller, operation, body | {"query": body["query"] + blank * blanks})
        for blanks in range(1, TRIES + 1)
    ]


def measure(gateway: Gateway, sent: list[Sent], *, forge: bool = False) -> tuple[float, Handled]:
    """The least CPU time of several tries, milliseconds, and what the last one came to."""
    handled: list[Handled] = []
    costs: list[float] = []
    for one in sent:
        half = len(one.data) // 2
        data = one.data[:half] + b"?" + one.data[half + 1 :] if forge else one.data

        def take(one: Sent = one, data: bytes = data) -> None:
            handled.append(gateway.take(str(one.subject), one.reply, data))

        costs.append(cpu_ms(take))
    return min(costs), handled[-1]


def _said(handled: Handled) -> str:
    if handled.accepted:
        return "accepted"
    error = (handled.answer or {}).get("error", {})
    return f"{error.get('code')}: {error.get('message', '')}"[:60]


def catalogue() -> Iterator[tuple[str, list[Sent], bool]]:
    """Every message with its name; the last value says whether it is altered once signed."""
    for name, operation, body in (*bodies(), *lists(), *queries()):
        for caller in CALLERS:
            yield f"{name} ({caller.principal})", _sealed(caller, operation, body), False
    for name, operation, body in (*bodies(), *lists(), *queries(), *carried()):
        for caller in CALLERS:
            sent = _sealed(caller, operation, body, seal_carried)
            yield f"by a door: {name} ({caller.principal})", sent, False
    large = seal(CALLERS[0], "insert", b"\x80" + bytes(_BODY))
    yield "nobody's message of two mebibytes", [large] * TRIES, True


def main() -> int:
    """Print the table; 1 when something costs more than it may."""
    gateway = Gateway()
    spare_the_collector()
    worst = 0.0
    print(f"{'one message':<58}{'bytes':>10}{'CPU, ms':>10}")
    for name, sent, forge in catalogue():
        ms, handled = measure(gateway, sent, forge=forge)
        worst = max(worst, ms)
        flag = "!" if ms > MAX_CPU_MS else " "
        print(f"{name:<58}{len(sent[0].data):>10,}{ms:>9.1f}{flag} {_said(handled)}", flush=True)
    print(f"worst: {worst:.1f} ms of CPU time (limit {MAX_CPU_MS:.0f} ms)")
    return int(worst > MAX_CPU_MS)


if __name__ == "__main__":
    sys.exit(main())
