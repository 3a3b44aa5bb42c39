"""What it costs to decide one command and to put the caller into its document rules.

`python -m tests.benchmarks.authorize` prints medians for a policy of 200 rules, all of which have
document rules: with the grant remembered, and with everything decided anew. Exits non-zero when a
median is above the limit.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Final

from mallku_contracts.operations import OPERATIONS
from mallku_contracts.policy import CompiledPolicy, read_policy
from mallku_contracts.subjects import CommandSubject

RULES: Final = 200
COMMANDS: Final = 20_000
MAX_MEDIAN_US: Final = 20.0
"""What authorization of one command may cost, median, microseconds."""

_RULE: Final = """
      - id: rule{number}
        collections: ["part{number}_*", other{number}]
        operations: [read, write]
        where: {{owner: $principal, meta.closed: {{"!=": true}}, until: {{">": $now}}}}
        set: {{owner: $principal, changed: $now}}
        hide: [secret, meta.token]
        max_affected: 100
"""
_POLICY: Final = """
version: 1
roles:
  service:
    rules: {rules}
principals:
  mallku: {{roles: [service]}}
collections:
  "part*": {{schema: {{type: object}}}}
"""
_ROLES: Final = frozenset({"service"})
_NS_PER_US: Final = 1_000


def make_policy() -> CompiledPolicy:
    """A policy of `RULES` rules that restrict documents."""
    rules = "".join(_RULE.format(number=number) for number in range(RULES))
    return CompiledPolicy(read_policy(_POLICY.format(rules=rules)))


def median_us(policy: CompiledPolicy, *, collections: int) -> float:
    """The median of deciding and binding one command over so many collections, microseconds."""
    operation = OPERATIONS["update"]
    subjects = [
        CommandSubject.build("mallku", "main", f"part{at % RULES}_{at % collections}", "update")
        for at in range(COMMANDS)
    ]
    took: list[int] = []
    for now_ms, subject in enumerate(subjects):
        began = time.perf_counter_ns()
        grant = policy.decide(subject, operation, roles=_ROLES, issuer="one")
        grant.bind("mallku", now_ms)
        took.append(time.perf_counter_ns() - began)
    return statistics.median(took) / _NS_PER_US


def main() -> int:
    """Print the medians; 1 when one is above the limit."""
    policy = make_policy()
    anew = median_us(policy, collections=COMMANDS)
    remembered = median_us(policy, collections=1)
    print(f"{RULES} rules with document rules, {COMMANDS} commands, decide + bind, median:")
    print(f"  a collection seen before   {remembered:6.1f} us")
    print(f"  every collection is new    {anew:6.1f} us   (limit {MAX_MEDIAN_US:.0f} us)")
    return int(max(anew, remembered) > MAX_MEDIAN_US)


if __name__ == "__main__":
    sys.exit(main())
