"""Rules that stand behind a wider one, and what of them never comes to bear."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from mallku_contracts.globs import any_of
from mallku_contracts.operations import OPERATIONS, Scope
from mallku_contracts.policy.model import Rule

MAX_COMPARED_RULES: Final = 2_000
"""Rules of one role, or of one principal, that are compared with each other."""

_ON_DOCUMENTS: Final = frozenset(
    name for name, operation in OPERATIONS.items() if operation.scope is Scope.COLLECTION
)


class Shadow(NamedTuple):
    """A rule of which others take something away.

    Attributes:
        at: Its position.
        before: The first rule that does so.
        is_whole: Nothing is left of it.
        documents: Its operations on documents that are decided before.
        restricts: Its keys that do not hold for them.
    """

    at: int
    rule: str
    before: str
    is_whole: bool
    documents: frozenset[str]
    restricts: tuple[str, ...]


def cast_shadows(
    rules: Sequence[tuple[str, Rule]], before: Sequence[tuple[str, Rule]]
) -> list[Shadow]:
    """What the rules lose to those that stand before them: in `before`, or among themselves.

    With a list in `before` the rules are not compared among themselves.
    """
    light = [_Light(name, rule) for name, rule in before][:MAX_COMPARED_RULES]
    alone = not before
    found: list[Shadow] = []
    for at, (name, rule) in enumerate(rules[:MAX_COMPARED_RULES]):
        shadow = _shadow(at, name, rule, light)
        if shadow is not None:
            found.append(shadow)
        if alone:
            light.append(_Light(name, rule))
    return found


class _Light:
    """A rule as those behind it see it."""

    def __init__(self, name: str, rule: Rule) -> None:
        self.name = name
        self.allowed = rule.allowed
        self._databases = re.compile(any_of(rule.databases))
        self._collections = re.compile(any_of(rule.collections))

    def takes(self, rule: Rule, allowed: frozenset[str]) -> frozenset[str]:
        """The operations that this rule decides wherever the other would."""
        if not all(map(self._databases.fullmatch, rule.databases)):
            return frozenset()
        common = self.allowed & allowed
        if all(map(self._collections.fullmatch, rule.collections)):
            return common
        return common - _ON_DOCUMENTS


def _shadow(at: int, name: str, rule: Rule, light: Sequence[_Light]) -> Shadow | None:
    allowed = rule.allowed
    taken = {one.name: one.takes(rule, allowed) for one in light}
    lost = frozenset[str]().union(*taken.values())
    if not lost:
        return None
    documents = lost & _ON_DOCUMENTS
    wanted = documents or lost
    first = next(other for other, names in taken.items() if names & wanted)
    restricts = rule.restricts if documents else ()
    return Shadow(at, name, first, lost == allowed, documents, restricts)
