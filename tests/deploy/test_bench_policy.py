"""Everything that is measured is measured under one policy, which holds nobody back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mallku_contracts.operations import Access
from mallku_deploy.bench.play import embedded
from mallku_deploy.bench.policy import POLICY
from mallku_deploy.furnish import Furnished
from mallku_deploy.reading import parse_policy

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
STARTING = re.compile(r"\b(furnish|running_world|embedded)\(")


def test_no_rate_holds_a_benchmark_back() -> None:
    """A client that was told `rate_limited` asks again and says nothing of it."""
    limits = parse_policy(POLICY, Path("policy.yaml")).roles["service"].limits
    assert limits is not None
    for access in Access:
        assert limits.of(access).rate_per_s == limits.of(access).burst == 1_000_000


async def test_a_bench_starts_its_gateway_under_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`mallku-gateway bench` without a gateway of its caller's."""
    texts: list[str] = []

    def gateway(furnished: Furnished, **_settings: object) -> None:
        texts.append(furnished.text)
        raise RuntimeError("it need not start")

    monkeypatch.setattr("mallku_deploy.bench.play.LocalGateway", gateway)
    with pytest.raises(RuntimeError, match="need not start"):
        async with embedded(1):
            pass
    assert texts == [POLICY]


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(BENCHMARKS.glob("*.py")) if STARTING.search(path.read_text())],
    ids=lambda path: path.stem,
)
def test_a_benchmark_with_a_gateway_uses_it(path: Path) -> None:
    """None brings a policy of its own, or takes the default of something else."""
    text = path.read_text()
    assert "from mallku_deploy.bench.policy import" in text
    assert "roles:" not in text
