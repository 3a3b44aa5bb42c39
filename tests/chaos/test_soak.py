"""What the soak calls growth: a slope whose whole confidence interval lies above what matters."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.report import write_into
from tests.chaos.soak import BLOCKS, MATTERS_MIB_PER_H, Soaked, Watch, report, slope

SECONDS = 1_800.0
LOOKS = 900


def _watch(memory: Callable[[float], float], descriptors: Callable[[float], float]) -> Watch:
    times = [SECONDS * look / LOOKS for look in range(LOOKS)]
    return Watch(times, [memory(at) for at in times], [descriptors(at) for at in times])


def _noisy(seed: int, per_hour: float) -> Callable[[float], float]:
    chance = random.Random(seed)
    return lambda at: 80 + per_hour * at / 3_600 + chance.gauss(0, 2)


def _stays(watch: Watch) -> bool:
    return report(Soaked(100.0, watches={"worker-1": watch}), SECONDS)[1]


@pytest.mark.parametrize("seed", range(10))
def test_noise_is_no_growth(seed: int) -> None:
    """Memory that goes up and down by megabytes, and stays."""
    assert _stays(_watch(_noisy(seed, 0.0), lambda _: 20))


@pytest.mark.parametrize("seed", range(10))
def test_growth_is_found_in_noise(seed: int) -> None:
    """Ten MiB an hour, in noise of two."""
    assert not _stays(_watch(_noisy(seed, 10.0), lambda _: 20))


def test_descriptors_that_leak_are_found() -> None:
    """One in five minutes."""
    assert not _stays(_watch(lambda _: 80, lambda at: 20 + at // 300))


def test_what_warms_up_is_no_growth() -> None:
    """The first half does not count."""
    warm = _watch(lambda at: 80 + min(at, SECONDS / 2) / 10, lambda _: 20)
    assert _stays(warm)


@pytest.mark.parametrize("seed", range(10))
def test_what_was_needed_once_is_no_growth(seed: int) -> None:
    """A process keeps the most that it needed; filled before, it seldom needs more."""
    need, most = _noisy(seed, 0.0), 86.0

    def keeps(at: float) -> float:
        nonlocal most
        most = max(most, need(at))
        return most

    assert _stays(_watch(keeps, lambda _: 20))


def test_the_interval_holds_the_true_slope() -> None:
    """In nineteen of twenty series of noise, about; a hundred are tried."""
    held = 0
    for seed in range(100):
        watch = _watch(_noisy(seed, 3.0), lambda _: 20)
        found = slope(watch.times, watch.memory)
        held += found.low <= 3.0 <= found.high
    assert 88 <= held <= 100
    assert MATTERS_MIB_PER_H < 3.0


def test_a_report_takes_the_place_of_the_former_one(tmp_path: Path) -> None:
    """What stands around its marks stays; without them nothing is written."""
    document = tmp_path / "page.md"
    document.write_text("a\n<!-- soak -->\nold\n<!-- /soak -->\nb\n")
    write_into(document, "soak", "new\n")
    assert document.read_text() == "a\n<!-- soak -->\nnew\n<!-- /soak -->\nb\n"
    with pytest.raises(ValueError, match="report"):
        write_into(document, "report", "new\n")


def test_too_short_a_run_says_nothing() -> None:
    """Fewer looks than blocks are refused, not guessed from."""
    with pytest.raises(ValueError, match="blocks"):
        slope([1.0], [1.0], BLOCKS)
