"""What a token costs a worker: verified, and remembered. `python -m tests.benchmarks.tokens`.

The goal for a remembered one is under 5 us, looking up its hash and its times included.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

from mallku_contracts.envelope import token_hash
from mallku_contracts.keys import SigningKey
from mallku_contracts.tokens import COMMAND_AUDIENCE, verify_token
from mallku_contracts.trust import Trust
from mallku_workers.identity import Identifier
from tests.support.simulated_caller import ISSUER, ISSUER_KEY, make_token

GOAL_US: Final = 5.0
ROUNDS: Final = 15
_US_PER_S: Final = 1_000_000


def main() -> None:
    """Measure and print a line each; the median of the rounds, the best and the worst."""
    trust = Trust.of(ISSUER, ISSUER_KEY.public)
    roles = frozenset(f"role-{number}" for number in range(4))
    token = make_token(SigningKey(b"c" * 32), principal="mallku", roles=roles)
    trusting: Any = SimpleNamespace(trust=trust)
    identifier = Identifier(trusting, lambda _name: False, max_tokens=10_000, skew_ms=30_000)
    digest, now_s = token_hash(token), time.time()
    for number in range(9_999):  # a memory as full as it gets
        identifier._verified[number.to_bytes(32, "big")] = SimpleNamespace()  # type: ignore[assignment]
    identifier._identity(token, digest, now_s)
    remembered = _show(
        "remembered", lambda: identifier._identity(token, token_hash(token), now_s), 20_000
    )
    _show("without the hash", lambda: identifier._identity(token, digest, now_s), 20_000)
    verified = _show(
        "verified",
        lambda: verify_token(token, trust, audience=COMMAND_AUDIENCE, now_s=now_s, leeway_s=30.0),
        500,
    )
    print(f"a remembered token costs 1/{verified / remembered:.0f} of a verified one")
    print(f"goal, under {GOAL_US} us: {'met' if remembered < GOAL_US else 'MISSED'}")


def _show(name: str, work: Callable[[], object], count: int) -> float:
    """The median cost of one call, microseconds."""
    costs: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(count):
            work()
        costs.append((time.perf_counter() - began) / count * _US_PER_S)
    median = statistics.median(costs)
    print(f"{name:20} {median:8.2f} us  ({min(costs):.2f} to {max(costs):.2f})")
    return median


if __name__ == "__main__":
    main()
