"""Somebody wants others' commands not to be carried out."""

from __future__ import annotations

import asyncio

import pytest

from mallku_contracts.cancelling import seal_cancel
from mallku_contracts.keys import SigningKey
from tests.attacks.arena import Arena, Attacker
from tests.attacks.cast import SCRATCH, VICTIM
from tests.integration.world import exchange

pytestmark = pytest.mark.asyncio(loop_scope="session")

COMMANDS = 50


async def test_somebody_elses_command_is_called_off(arena: Arena, attacker: Attacker) -> None:
    """The broker refuses the victim's subject, and on its own the attacker holds no such command.

    The ids are known to it, as they are to whoever may see commands pass.
    """
    async with arena.victim() as victim:
        asked = [victim.caller.seal("count", {}, SCRATCH) for _ in range(COMMANDS)]
        calls = [asyncio.ensure_future(exchange(victim.connection, sent)) for sent in asked]
        for sent in asked:
            own = seal_cancel(attacker.principal, sent.header.id, attacker.caller.key)
            attacker.connection.post(*own)
        subject, body = seal_cancel(VICTIM, asked[0].header.id, attacker.caller.key)
        await attacker.refused_to_publish(subject, body)
        for answer in await asyncio.gather(*calls):
            assert "error" not in answer.body


async def test_a_command_is_called_off_with_stolen_credentials(
    arena: Arena, attacker: Attacker
) -> None:
    """Who has the victim's connection and not its key: the wish is not signed by the command's."""
    asked = [attacker.caller.seal("count", {}, SCRATCH) for _ in range(COMMANDS)]
    thief = SigningKey(b"t" * 32)
    calls = []
    for sent in asked:
        calls.append(asyncio.ensure_future(exchange(attacker.connection, sent)))
        await asyncio.sleep(0)
        subject, body = seal_cancel(attacker.principal, sent.header.id, thief)
        for forged in (body, b"", bytes(64), body * 100):
            attacker.connection.post(subject, forged)
    for answer in await asyncio.gather(*calls):
        assert "error" not in answer.body
