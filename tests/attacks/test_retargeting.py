"""Signed bytes are aimed elsewhere, or changed on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from mallku_contracts.envelope import Envelope
from mallku_contracts.keys import SigningKey
from tests.attacks.arena import Arena, Attacker
from tests.attacks.arena import refused_by_each_worker as refused
from tests.attacks.cast import DATABASE, SCRATCH, VAULT, VICTIM
from tests.integration.world import exchange
from tests.support.simulated_caller import Sent, make_token

pytestmark = pytest.mark.asyncio(loop_scope="session")

BENT = {"document": {"_key": "v0", "kind": "bent"}}


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        ("mallku.v1.cmd.{0}.mallku.vault.insert", "subject_mismatch"),
        ("mallku.v1.cmd.{0}.elsewhere.scratch.insert", "subject_mismatch"),
        ("mallku.v1.cmd.{0}.mallku.scratch.replace", "subject_mismatch"),
        ("mallku.v1.cmd.{0}.mallku.scratch.truncate", "subject_mismatch"),
        ("mallku.v1.cmd.{0}.mallku.@.insert", "invalid_subject"),
        ("mallku.v1.cmd.{0}.mallku.scratch.explode", None),
    ],
)
async def test_a_signed_command_is_aimed_at_another_collection_database_or_operation(
    arena: Arena, subject: str, code: str | None
) -> None:
    """By somebody who may do everything there: what was not signed for a subject holds not on it.

    The broker takes no operation that there is not.
    """
    async with arena.attacker(wide=True) as attacker:
        sent = attacker.caller.seal("insert", BENT, SCRATCH)
        aimed = subject.format(attacker.principal)
        if code is None:
            await attacker.refused_to_publish(aimed, sent.data, sent.reply)
            return
        codes = await refused(attacker.connection, sent, subject=aimed)
        assert set(codes) == {code}
        await arena.told(attacker.principal, codes)


STRANGER = SigningKey(b"s" * 32)

Bend = Callable[[Sent], Envelope]
BENDS: dict[str, tuple[Bend, str]] = {
    "another body": (
        lambda sent: replace(sent.envelope, body=sent.body[:-1] + bytes([sent.body[-1] ^ 1])),
        "invalid_signature",
    ),
    "a longer life": (
        lambda sent: replace(
            sent.envelope, protected=replace(sent.header, exp=sent.header.exp + 1).pack()
        ),
        "invalid_signature",
    ),
    "another key of the ledger": (
        lambda sent: replace(sent.envelope, protected=replace(sent.header, idem="mine").pack()),
        "invalid_signature",
    ),
    "no signature": (lambda sent: replace(sent.envelope, signature=b""), "invalid_signature"),
    "a signature of zeros": (
        lambda sent: replace(sent.envelope, signature=bytes(64)),
        "invalid_signature",
    ),
    "the signature of another key": (
        lambda sent: replace(sent.envelope, signature=STRANGER.sign(sent.body)),
        "invalid_signature",
    ),
    "another token": (
        lambda sent: replace(sent.envelope, token=make_token(STRANGER, principal=VICTIM)),
        "invalid_token",
    ),
    "no token": (lambda sent: replace(sent.envelope, token=b""), "invalid_token"),
}


@pytest.mark.parametrize("bend", BENDS)
async def test_signed_bytes_are_changed_on_the_way(
    arena: Arena, attacker: Attacker, bend: str
) -> None:
    """Whatever part of a command is exchanged: both workers refuse it, and it does nothing."""
    make, code = BENDS[bend]
    sent = attacker.caller.seal("insert", {"document": {"_key": "bent"}}, SCRATCH)
    codes = await refused(attacker.connection, sent, data=make(sent).join())
    assert set(codes) == {code}
    await arena.told(attacker.principal, codes)
    asked = attacker.caller.seal("exists", {"document": "bent"}, SCRATCH)
    assert (await exchange(attacker.connection, asked)).result is False


async def test_a_command_is_sent_in_somebody_elses_name(
    arena: Arena, attacker: Attacker, victim: Attacker
) -> None:
    """The broker does not take it; over the victim's own connection the worker does not.

    That connection is what a thief of NATS credentials has: they sign nothing.
    """
    mine = attacker.caller
    sent = replace(mine, principal=VICTIM).seal("get", {"document": "v0"}, VAULT)
    await attacker.refused_to_publish(str(sent.subject), sent.data, attacker.inbox())
    codes = await refused(victim.connection, sent)
    assert set(codes) == {"principal_mismatch"}
    forged = victim.caller.seal("get", {"document": "v0"}, VAULT, key=mine.key)
    assert set(await refused(victim.connection, forged)) == {"invalid_signature"}
    posing = victim.caller.seal(
        "get", {"document": "v0"}, VAULT, key=mine.key, kid=victim.caller.key.kid
    )
    assert set(await refused(victim.connection, posing)) == {"invalid_signature"}
    await arena.told(attacker.principal, Counter())


@pytest.mark.parametrize(
    ("collection", "operation"),
    [(VAULT, "find"), (VAULT, "delete"), (SCRATCH, "truncate"), (SCRATCH, "drop-collection")],
)
async def test_a_command_goes_beyond_the_role(
    arena: Arena, attacker: Attacker, collection: str, operation: str
) -> None:
    """What no rule allows the broker does not take, and nothing of it reaches a worker."""
    subject = f"mallku.v1.cmd.{attacker.principal}.{DATABASE}.{collection}.{operation}"
    await attacker.refused_to_publish(subject, b"", attacker.inbox())
    await arena.told(attacker.principal, Counter())


async def test_a_glob_is_taken_for_more_than_it_says(arena: Arena, attacker: Attacker) -> None:
    """`fc_*` is `*` to the broker; the worker reads it as it is written, for each collection."""
    sent = attacker.caller.seal("get", {"document": "v0"}, VAULT)
    codes = await refused(attacker.connection, sent)
    assert codes["permission_denied"] >= 1
    assert set(codes) <= {"permission_denied", "replayed"}
    await arena.told(attacker.principal, codes)
