"""What a command was about is known until its outcome comes, whatever else comes before."""

from __future__ import annotations

from mallku_deploy.auditing.hiding import Hiding
from mallku_deploy.auditing.lines import Lines
from mallku_deploy.auditing.table import Table, outcome
from tests.deploy.shown_trail import command


def test_a_refusal_of_a_replay_leaves_the_command_its_line() -> None:
    """Anybody may send a command's bytes again; what its outcome was about is still known."""
    lines = Lines(Hiding(None))
    document = {"document": {"_key": "k1"}}
    for each in (
        command(1, "intent", arguments=document, id="x"),
        command(2, "denied", id="x", rule=None, code="busy"),
        command(3, "denied", id="x", code="replayed"),
        command(4, "resolved", id="x", resolution="pending"),
    ):
        lines.add(*each)
    assert lines.open_commands == 1
    assert lines.add(*command(5, "done", id="x")).target == "people/k1"
    assert lines.open_commands == 0


def test_door_that_carried_a_command_is_named() -> None:
    """Who asked stands in front, and behind it through which door; nothing drives the terminal."""
    lines = Lines(Hiding(None))
    carried = lines.add(*command(1, "denied", code="invalid_proof", via={"door": "front"}))
    assert outcome(carried) == "✗ invalid_proof via front"
    assert Table(80).format(carried)[-1].plain.endswith("✗ invalid_proof via front")
    plain = lines.add(*command(2, "done", via={}))
    assert (plain.via, outcome(plain)) == ("", "done")
    odd = lines.add(*command(3, "done", via={"door": "a\x1b[2J"}))
    assert "\x1b" not in outcome(odd)
