"""Somebody has learnt the name of a victim's cursor, and which worker holds it."""

from __future__ import annotations

from collections import Counter

import pytest

from mallku_contracts.subjects import CommandSubject
from tests.attacks.arena import Arena, Attacker
from tests.attacks.cast import DATABASE, SECRET
from tests.integration.world import exchange

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUERY = {"query": "FOR v IN vault SORT v._key RETURN v", "batch_size": 1}


@pytest.mark.parametrize("close", [False, True], ids=["read", "closed"])
@pytest.mark.parametrize("wide", [False, True], ids=["small", "everything"])
async def test_a_cursor_of_others_is_used(
    arena: Arena, victim: Attacker, wide: bool, close: bool
) -> None:
    """It is lost to anybody else, as one that never was; the victim reads on to the end."""
    asked = victim.caller.seal("aql", QUERY, None)
    answer = (await exchange(victim.connection, asked)).result
    cursor = answer["cursor"]
    async with arena.attacker(wide=wide) as attacker:
        words = []
        subject = CommandSubject.of_cursor(attacker.principal, DATABASE, cursor["worker"])
        for name in (cursor["id"], "0" * len(cursor["id"])):
            arguments = {"cursor": name, "page": 2, "close": close}
            sent = attacker.caller.seal("next", arguments, subject=subject)
            other = await exchange(attacker.connection, sent)
            assert other.error.code == "cursor_lost"
            words.append(str(other.error.to_wire()).replace(name, "NAME"))
        assert words[0] == words[1]
        await attacker.refused_to_publish(
            f"mallku.v1.cur.{victim.principal}.mallku.{cursor['worker']}.next", b"{}"
        )
        told = Counter(intent=2, cursor_lost=2)
        assert SECRET not in str(await arena.told(attacker.principal, told))
    second = victim.caller.ask_page(cursor, 2)
    page = (await exchange(victim.connection, second)).result
    assert page["result"][0]["_key"] == "v1"
