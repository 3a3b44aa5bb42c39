"""What a client keeps of an answer proves it to others."""

from __future__ import annotations

import pytest

from mallku_broker.trust import load_trust
from mallku_client import SecuredDatabaseInterface
from mallku_client.answers import Answer
from mallku_contracts.errors import UnverifiedReply
from mallku_contracts.trail.proof import ReceiptBundle, check_bundle
from tests.client.world import MemoryGateway, Opened, World


async def test_a_mutations_answer_keeps_its_receipt(
    world: World, db: SecuredDatabaseInterface
) -> None:
    """The signed reply itself, which needs nothing but the trust file to be believed again."""
    answers: list[Answer] = []
    await db.collection("anchors").insert({"a": 1}, on_answer=answers.append)
    (answer,) = answers
    trust = load_trust(world.folder / "trust")
    receipt = check_bundle(ReceiptBundle.from_json(answer.receipt_bundle), trust).receipt
    assert answer.receipt == {
        "stream": receipt.stream,
        "sequence": receipt.sequence,
        "hash": receipt.hash,
    }
    assert receipt.command == answer.id


async def _counted(gateway: MemoryGateway, command: Opened) -> bytes | None:
    return gateway.reply(command, {"result": 3})


async def test_a_read_has_no_receipt(world: World, db: SecuredDatabaseInterface) -> None:
    """Its answer keeps nothing, and says so when it is asked."""
    world.gateway.script = [_counted]
    answer = await db.command("count", "anchors", {})
    assert answer.reply == b""
    with pytest.raises(UnverifiedReply, match="no receipt"):
        _ = answer.receipt_bundle


async def test_an_answer_does_not_print_its_reply(db: SecuredDatabaseInterface) -> None:
    """What stands in a log by accident is the result, not kilobytes of signed bytes."""
    answer = await db.command("insert", "anchors", {"document": {"a": 1}})
    assert "reply=" not in repr(answer)
