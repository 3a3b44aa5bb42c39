"""A bounded stretch of `make fuzz`, every find so far, and whether a find would be seen."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

import pytest

from mallku_contracts.arguments import Arguments, Get, read_arguments
from mallku_contracts.codec import pack
from mallku_contracts.errors import InvalidArguments
from mallku_contracts.keys import PublicKey
from mallku_workers import authorization, pipeline
from tests.fuzz import gateway
from tests.fuzz.catalogue import NAMES, load
from tests.fuzz.loop import Trial
from tests.fuzz.measure import TooSlow, Worst
from tests.fuzz.properties import PROPERTIES, check
from tests.fuzz.seeds import BODIES
from tests.fuzz.targets import Target

SEED = 11
INPUTS = 400
"""Mutated inputs of each target."""

EXAMPLES = 60
"""Examples of each property."""

SLOW_MACHINE = 10
"""How much more than its limit an input may cost here, where others run beside it."""

REGRESSIONS = Path(__file__).parent / "regressions"

cached = cache(load)


@pytest.mark.parametrize("name", NAMES)
def test_the_seeds_hold(name: str) -> None:
    """What is mutated was good before: every target takes its seeds."""
    target = cached(name)
    assert target.seeds
    for seed in target.seeds:
        target.run(seed)


@pytest.mark.parametrize("name", NAMES)
def test_mutated_inputs_are_no_surprise(name: str) -> None:
    """A stretch of the plain loop: coded refusals, and nothing accepted that does not hold."""
    target, rng = cached(name), Random(SEED)
    worst = Worst(target.limit_ms * SLOW_MACHINE)
    for _ in range(max(int(INPUTS * target.weight), 20)):
        worst.run(target.run, target.make(rng))


@pytest.mark.parametrize("name", PROPERTIES)
def test_the_properties_hold(name: str) -> None:
    """A stretch of what hypothesis tries."""
    check(PROPERTIES[name], EXAMPLES)


@pytest.mark.parametrize("file", sorted(REGRESSIONS.glob("*.bin")), ids=lambda file: file.stem)
def test_what_was_found_stays_mended(file: Path) -> None:
    """Every input that once did what none may is tried again; its name begins with its target."""
    target = cached(file.name.partition("-")[0])
    target.run(file.read_bytes())


def test_the_same_seed_makes_the_same_inputs() -> None:
    """A run can be had again: nothing but the seed decides."""
    for name in NAMES:
        target = cached(name)
        once, again = Random(SEED), Random(SEED)
        assert [target.make(once) for _ in range(50)] == [target.make(again) for _ in range(50)]


# A find is seen


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Something in the worker is broken for one test."""
    with monkeypatch.context() as broken:
        yield broken


def _finds(target: Target, tmp_path: Path, count: int = 300) -> list[str]:
    trial, rng = Trial(target, tmp_path), Random(SEED)
    found = [trial.attempt(target.make(rng)) for _ in range(count)]
    return [find.summary for find in found if find is not None]


def test_a_worker_that_checks_no_signatures_is_found(
    fresh: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A message whose body was changed is accepted then, and that is a find with its input."""
    fresh.setattr(PublicKey, "verify", lambda *_: True)
    finds = _finds(cached("message"), tmp_path)
    assert any("nobody signed" in find for find in finds)
    saved = list(tmp_path.glob("message-*.bin"))
    assert len(saved) == len(finds)
    with pytest.raises(AssertionError, match="nobody signed"):
        cached("message").run(saved[0].read_bytes())


def test_an_error_without_a_code_is_found(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever is raised that has no code is a find, though the caller is told nothing of it."""

    def stumble(*_: object) -> None:
        raise ZeroDivisionError

    fresh.setattr(pipeline, "read_body", stumble)
    assert any("ZeroDivisionError" in find for find in _finds(cached("body"), tmp_path))


def test_an_answer_in_a_foreign_inbox_is_found(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A worker that answers wherever it is asked to is found."""
    fresh.setattr("mallku_workers.admission.is_own_inbox", lambda *_: True)
    assert any("foreign inbox" in find for find in _finds(cached("message"), tmp_path, 2_000))


def test_arguments_that_nobody_checks_are_found(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A worker that takes arguments unread is found: what it accepts is read again."""
    get = pack(BODIES["get"][0])

    def anything(model: type[Arguments], values: object) -> Arguments:
        try:
            return read_arguments(model, values)
        except InvalidArguments:
            return Get.model_construct(document="k1")

    fresh.setattr(authorization, "read_arguments", anything)
    cached("body").run(b"\x00\x00" + get)
    with pytest.raises(InvalidArguments):
        cached("body").run(b"\x00\x00" + pack({"document": "k1", "more": 1}))


def test_a_costly_input_is_found_and_kept() -> None:
    """What costs too much in every try is refused; what does not is kept when it is the worst."""

    def spin(data: bytes) -> None:
        sum(range(len(data) * 1_000))

    worst = Worst(limit_ms=1e9)
    for length in (1, 50, 2):
        worst.run(spin, bytes(length))
    assert len(worst.data) == 50
    with pytest.raises(TooSlow):
        Worst(limit_ms=1e-6).run(spin, bytes(50))


def test_what_is_accepted_reaches_the_store() -> None:
    """The harness tells acceptance from refusal: good commands do get to the store."""
    own = gateway.Gateway()
    sent = gateway.seal(gateway.CALLERS[0], "insert", BODIES["insert"][0])
    handled = own.take(str(sent.subject), sent.reply, sent.data)
    assert handled.accepted
    assert [work.operation.name for work in handled.works] == ["insert"]
    refused = own.take(str(sent.subject), sent.reply, sent.data[:-1])
    assert not refused.accepted
    own.close()
