"""Counts what became of every command; all that it costs one is a few additions.

Whatever callers send, what is counted under a name is bounded: operations are those of the table,
codes those of the error tree, and names of collections and principals the first so many that a
policy let through and that are there; all others are one.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mallku_contracts.errors import MallkuError
from mallku_contracts.operations import OPERATIONS, Access
from mallku_contracts.policy import CompiledPolicy
from mallku_contracts.subjects import NO_COLLECTION
from mallku_workers.message import STEPS, Case

MAX_COLLECTIONS: Final = 64
"""Collections that are counted by name, names; the others are counted together."""

MAX_PRINCIPALS: Final = 64
"""Principals that are counted by name, names; the others are counted together."""

BOUNDS_US: Final = (
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    1_000_000,
    5_000_000,
)
"""Upper bounds of the buckets of every histogram of times, microseconds."""

OTHERS: Final = "_other"
UNKNOWN: Final = "_unknown"
REFUSED: Final = "refused"
"""What the class of a collection is called before anybody looked."""

DONE: Final = "ok"
_NS_PER_S: Final = 1_000_000_000
_US_PER_S: Final = 1_000_000


class Histogram:
    """Times in microseconds, counted by buckets."""

    __slots__ = ("counts", "total_us")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_US) + 1)
        self.total_us = 0

    def add(self, us: int) -> None:
        """Count one time."""
        self.counts[bisect_left(BOUNDS_US, us)] += 1
        self.total_us += us


@dataclass(slots=True)
class Endpoint:
    """What one operation had to do, as ADR-32 counts it."""

    requests: int = 0
    errors: int = 0
    last_error: str = ""
    processing_ns: int = 0

    @property
    def average_ns(self) -> int:
        """Nanoseconds of one request."""
        return self.processing_ns // self.requests if self.requests else 0


class Names:
    """The first `most` names that were proven; every other one is `_other`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def bounded(self, name: str, *, proven: bool = True) -> str:
        """The name itself, or what all the others are called.

        Args:
            proven: What it names is there; what is not there gets no name of its own.
        """
        if name in self._known:
            return name
        if len(self._known) >= self._most or not proven:
            return OTHERS
        self._known.add(name)
        return name


class CollectionClasses:
    """How the policy in force governs a collection: `secured`, `governed` or `plain`."""

    def __init__(self, policy: Callable[[], CompiledPolicy]) -> None:
        self._policy = policy
        self._of: CompiledPolicy | None = None
        self._known: dict[str, str] = {}

    def __call__(self, collection: str) -> str:
        """The class of a collection that the policy let somebody use."""
        policy = self._policy()
        if policy is not self._of or len(self._known) > MAX_COLLECTIONS:
            self._of, self._known = policy, {}
        known = self._known.get(collection)
        if known is None:
            known = self._known[collection] = _class_of(policy, collection)
        return known


def _class_of(policy: CompiledPolicy, collection: str) -> str:
    if collection == NO_COLLECTION:
        return "none"
    holding = policy.holding(collection)
    if holding.rules.requires_security:
        return "secured"
    return "governed" if holding.name else "plain"


class Tally:
    """Everything that is counted; an `Observer` of the pipeline.

    Args:
        classes: The class of a collection that the policy let somebody use.

    Attributes:
        commands: By operation, class of collection, outcome and code.
        collections: By collection, access class and outcome.
        principals: By principal and outcome.
        steps: How long each step of the pipeline took.
        durations: How long commands took from receipt to reply, by access class.
        endpoints: By operation.
        ledger_hits: Commands whose effect was there already.
    """

    def __init__(self, classes: Callable[[str], str]) -> None:
        self.commands: Counter[tuple[str, str, str, str]] = Counter()
        self.collections: Counter[tuple[str, str, str]] = Counter()
        self.principals: Counter[tuple[str, str]] = Counter()
        self.steps = {step: Histogram() for step in STEPS}
        self.durations = {access.value: Histogram() for access in Access}
        self.endpoints = {name: Endpoint() for name in OPERATIONS}
        self.ledger_hits = 0
        self._classes = classes
        self._access = {name: each.access.value for name, each in OPERATIONS.items()}
        self._collection_names = Names(MAX_COLLECTIONS)
        self._principal_names = Names(MAX_PRINCIPALS)

    def ended(self, case: Case, error: MallkuError | None) -> None:
        """Count a command that was answered, or refused."""
        self._count_steps(case)
        operation, subject = case.operation, case.subject
        outcome = "done" if error is None else ("failed" if case.intended else "denied")
        code = DONE if error is None else error.code
        if operation is None or subject is None:
            self.commands[UNKNOWN, REFUSED, outcome, code] += 1
            return
        verb, collection = operation.name, subject.collection
        self._count_endpoint(verb, case, error)
        self.ledger_hits += case.replayed
        if case.grant is None:
            self.commands[verb, REFUSED, outcome, code] += 1
            self.principals[UNKNOWN, outcome] += 1
            return
        self.commands[verb, self._classes(collection), outcome, code] += 1
        self.principals[self._principal_names.bounded(subject.principal), outcome] += 1
        if collection != NO_COLLECTION:
            name = self._collection_names.bounded(collection, proven=error is None)
            self.collections[name, self._access[verb], outcome] += 1

    def _count_steps(self, case: Case) -> None:
        """As `Histogram.add` for each of them; written out, since every command pays for it."""
        steps = self.steps
        for step, us in case.steps.items():
            histogram = steps[step]
            histogram.counts[bisect_left(BOUNDS_US, us)] += 1
            histogram.total_us += us
        if case.broke_off is not None:
            step, us = case.broke_off
            steps[step].add(us)

    def _count_endpoint(self, verb: str, case: Case, error: MallkuError | None) -> None:
        took_s = time.monotonic() - case.message.received_s
        endpoint = self.endpoints[verb]
        endpoint.requests += 1
        endpoint.processing_ns += int(took_s * _NS_PER_S)
        if error is not None:
            endpoint.errors += 1
            endpoint.last_error = f"{error.number}:{error.code}"
        self.durations[self._access[verb]].add(int(took_s * _US_PER_S))

    @property
    def requests(self) -> int:
        """Commands of a known operation, whatever became of them."""
        return sum(endpoint.requests for endpoint in self.endpoints.values())

    @property
    def errors(self) -> int:
        """Of these, those that were answered with an error."""
        return sum(endpoint.errors for endpoint in self.endpoints.values())
