from __future__ import annotations

from dataclasses import replace

import pytest

from mallku_contracts.audit import Record, Resolution
from mallku_contracts.envelope import Envelope
from mallku_contracts.identifiers import uuid7
from mallku_contracts.subjects import CommandSubject
from mallku_deploy.demo import load
from mallku_deploy.demo.play import count_against, verdict
from mallku_deploy.demo.promises import Promises
from mallku_deploy.demo.trail import Trail
from mallku_deploy.demo.wire import flip_last_byte_of_body

NOW_MS = 1_800_000_000_000
SUBJECT = CommandSubject("mallku", "mallku", "memory_anchors", "get")
IDS = [uuid7(NOW_MS, number) for number in range(3)]


def _record(kind: str, number: int, id_: str) -> Record:
    return Record(kind, "w", number, NOW_MS, id_, "mallku", str(SUBJECT))


def _trail(*kinds: tuple[str, str]) -> Trail:
    return Trail([_record(kind, number, id_) for number, (kind, id_) in enumerate(kinds, 1)])


WHOLE = (("intent", IDS[0]), ("done", IDS[0]), ("denied", IDS[1]))


def _kept(trail: Trail, sent: list[str]) -> bool:
    promises = Promises()
    count_against(trail, promises, sent)
    return not promises.broken


def test_a_whole_trail_counts_up() -> None:
    """Every command that was sent is there, every intent with its outcome."""
    assert _kept(_trail(*WHOLE), IDS[:2])


@pytest.mark.parametrize(
    ("kinds", "sent"),
    [
        (WHOLE[:1] + WHOLE[2:], IDS[:2]),  # an intent without an outcome
        (WHOLE[1:], IDS[:2]),  # an outcome without an intent
        (WHOLE + WHOLE[1:2], IDS[:2]),  # two outcomes
        (WHOLE[:2] * 2 + WHOLE[2:], IDS[:2]),  # executed twice
        (WHOLE, IDS),  # sent, and not recorded
        (WHOLE, IDS[:1]),  # recorded, and not sent
        ((), IDS[:2]),  # nothing at all
    ],
)
def test_a_trail_that_differs_breaks_a_promise(
    kinds: tuple[tuple[str, str], ...], sent: list[str]
) -> None:
    """Whatever is missing, doubled or invented is noticed."""
    assert not _kept(_trail(*kinds), sent)


def test_what_a_killed_worker_left_is_counted() -> None:
    """A reconciler's word is an outcome; what had no intent yet was sent again, up to a bound."""
    trail = _trail(("intent", IDS[0]), ("resolved", IDS[0]))
    pending = replace(trail.records[1], resolution=Resolution.PENDING)
    closed = replace(pending, resolution=Resolution.NOT_APPLIED)
    for resolution, unheard, kept in ((closed, 1, True), (closed, 0, False), (pending, 1, False)):
        promises = Promises()
        count_against(Trail([trail.records[0], resolution]), promises, IDS[:2], unheard=unheard)
        assert promises.broken == [] if kept else promises.broken


def test_a_broken_promise_is_exit_code_one() -> None:
    """And a kept one is not."""
    promises = Promises()
    promises.keep("kept", kept=True)
    assert verdict(promises, 1.0) == 0
    promises.keep("broken", kept=False)
    assert verdict(promises, 1.0) == 1


def test_flipping_changes_one_bit_of_the_body_alone() -> None:
    """The rest of the envelope stays, so that the signature is what refuses it."""
    envelope = Envelope(b"p", b"body", bytes(64), b"t")
    flipped = Envelope.split(flip_last_byte_of_body(envelope.join()))
    assert flipped == Envelope(b"p", b"bodx", bytes(64), b"t")


def test_the_load_has_as_many_inserts_as_it_says() -> None:
    """Half of the commands write a new document, each under its own key."""
    assert load.inserts() == load.COMMANDS // 2
