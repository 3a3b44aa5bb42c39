"""The story: memory anchors, a fire circle, khipu blocks; what is allowed and what is refused."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final

from mallku_client import SecuredDatabaseInterface
from mallku_client.settings import ClientSettings
from mallku_contracts.errors import MallkuError, UniqueViolation
from mallku_deploy.asking import read_asked
from mallku_deploy.demo.promises import Promises
from mallku_deploy.demo.wire import Attacker, CountingTransport, flip_last_byte_of_body
from mallku_deploy.envelopes import seal

VOICES: Final = ("claude", "mistral", "gemini", "grok", "deepseek", "llama", "qwen")
ANCHOR: Final[dict[str, Any]] = {
    "_key": "anchor-2025-06-04-ayni",
    "kind": "memory_anchor",
    "timestamp": "2025-06-04T10:00:00Z",
    "cursors": {"temporal": "2025-06-04T10:00:00Z", "spatial": "home"},
    "weight": 3,
}


@dataclass(frozen=True, slots=True)
class Stage:
    """Who is on it: Mallku's service, an operator, and somebody with a wire of their own."""

    db: SecuredDatabaseInterface
    operator: SecuredDatabaseInterface
    settings: ClientSettings
    wire: CountingTransport
    promises: Promises


async def write_and_read(stage: Stage) -> None:
    """Documents go in and come out, one by one and many at once."""
    promises, db = stage.promises, stage.db
    promises.chapter("Memories are written and read")
    anchors = await db.create_collection("memory_anchors")
    answer = await db.command("insert", "memory_anchors", {"document": ANCHOR})
    promises.keep(
        "an anchor is stored, with a receipt of the audit trail",
        answer.receipt is not None,
        f"{answer.result['_id']}, record {answer.receipt['sequence'] if answer.receipt else None}",
    )
    found = await anchors.get(ANCHOR["_key"])
    stored = {name: value for name, value in (found or {}).items() if name in ANCHOR}
    promises.keep("it is read back as it was written", stored == ANCHOR)
    await anchors.update({"_key": ANCHOR["_key"], "cursors": {"social": "fire circle"}})
    changed = await anchors.get(ANCHOR["_key"]) or {}
    cursors = changed.get("cursors", {})
    promises.keep(
        "an update merges into it", cursors == {**ANCHOR["cursors"], "social": "fire circle"}
    )


async def hold_a_fire_circle(stage: Stage) -> None:
    """Seven voices speak in one batch; a khipu block remembers them."""
    promises, db = stage.promises, stage.db
    promises.chapter("A fire circle is held")
    circle = await db.create_collection("fire_circle_memories")
    messages = [
        {"_key": f"round-1-{voice}", "voice_name": voice, "round": 1, "text": "ayni is a verb"}
        for voice in VOICES
    ]
    results = await circle.insert_many(messages)
    stored = [result for result in results if isinstance(result, dict) and "_key" in result]
    promises.keep("seven messages are stored in one batch", len(stored) == len(VOICES))
    promises.keep("all of them are counted", await circle.count() == len(VOICES))
    heard = [row async for row in await circle.find({"voice_name": "mistral"})]
    promises.keep("one voice is found among them", [row["round"] for row in heard] == [1])
    khipu = await db.create_collection("khipu_blocks")
    block = {"_key": "khipu-1", "knots": [f"fire_circle_memories/{m['_key']}" for m in messages]}
    await khipu.insert(block)
    read = await khipu.get("khipu-1") or {}
    promises.keep("a khipu block ties them together", read.get("knots") == block["knots"])


async def ask(stage: Stage) -> None:
    """Queries and a transaction: the same eleven steps, decided collection by collection."""
    promises, db = stage.promises, stage.db
    promises.chapter("Questions are asked")
    text = (
        "FOR m IN fire_circle_memories FILTER m.voice_name IN @voices"
        " SORT m.voice_name RETURN m.voice_name"
    )
    cursor = await db.aql.execute(text, bind_vars={"voices": ["qwen", "claude"]}, batch_size=1)
    promises.keep(
        "a query's rows come page by page", [row async for row in cursor] == ["claude", "qwen"]
    )
    steps = [
        {
            "operation": "insert",
            "collection": "khipu_blocks",
            "arguments": {"document": {"_key": key}},
        }
        for key in ("khipu-2", "khipu-1")
    ]
    await _refused(
        promises,
        "a transaction whose second step fails does nothing",
        db.command("transaction", None, {"steps": steps}),
        UniqueViolation.code,
    )
    promises.keep(
        "and its first step left nothing behind",
        not await db.collection("khipu_blocks").has("khipu-2"),
    )
    await _refused(
        promises,
        "no query reaches the gateway's own collections",
        db.aql.execute("FOR entry IN mallku_ledger RETURN entry"),
        "reserved_name",
    )


async def refuse(stage: Stage) -> None:
    """What may not be is refused, by the broker and by the worker, and says why."""
    promises, db = stage.promises, stage.db
    promises.chapter("What may not be is refused")
    await _refused(
        promises,
        "mallku may not truncate: the broker's lock",
        db.command("truncate", "memory_anchors", timeout=3.0),
        "permission_denied",
    )
    await _refused(
        promises,
        "nobody writes into the gateway's own collections: the worker's lock",
        db.command("insert", "mallku_ledger", {"document": {}}),
        "reserved_name",
    )
    await _refused(
        promises,
        "the same key twice is a conflict, typed as python-arango's callers know it",
        db.collection("khipu_blocks").insert({"_key": "khipu-1"}),
        UniqueViolation.code,
    )
    scratch = stage.operator.collection("scratch")
    await stage.operator.create_collection("scratch")
    await scratch.insert({"_key": "gone-soon"})
    await scratch.truncate()
    promises.keep("the operator may truncate", await scratch.count() == 0)


async def attack(stage: Stage) -> None:
    """Bytes that were tampered with or sent twice have no effect."""
    promises = stage.promises
    promises.chapter("A sealed command is attacked")
    attacker = Attacker(stage.wire, stage.settings)
    text = '{"document": {"_key": "%s", "weight": 1}}'
    sealed = _seal(stage, text % "tampered")
    refusal = await attacker.send(sealed.subject, flip_last_byte_of_body(sealed.payload))
    _show_refusal(promises, "one bit flipped after signing: refused", refusal, "invalid_signature")
    missing = not await stage.db.collection("memory_anchors").has("tampered")
    promises.keep("and it left nothing behind", missing)
    sealed = _seal(stage, text % "once")
    first = await attacker.send(sealed.subject, sealed.payload)
    promises.keep("a command is carried out once", first is None)
    again = await attacker.send(sealed.subject, sealed.payload)
    _show_refusal(promises, "the same bytes again: refused", again, "replayed")


def _seal(stage: Stage, arguments: str) -> Any:
    asked = read_asked("insert", "memory_anchors", arguments)
    return seal(stage.settings, asked, timeout_s=10.0)


async def _refused(promises: Promises, what: str, call: Awaitable[Any], code: str) -> None:
    try:
        await call
    except MallkuError as error:
        _show_refusal(promises, what, error, code)
    else:
        promises.keep(what, False, "it was carried out")


def _show_refusal(promises: Promises, what: str, error: MallkuError | None, code: str) -> None:
    seen = (
        "it was carried out" if error is None else f"{error.code} {error.number}: {error.message}"
    )
    promises.keep(what, error is not None and error.code == code, seen)
