"""Every target by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from tests.fuzz import envelopes, languages, readers
from tests.fuzz.targets import Target

TARGETS: Final[Mapping[str, Callable[[], Target]]] = MappingProxyType(
    {
        "message": envelopes.message_target,
        "body": envelopes.body_target,
        "protected": envelopes.protected_target,
        "token": envelopes.token_target,
        "query": languages.query_target,
        "evaluation": languages.evaluation_target,
        "policy": languages.policy_target,
        "reply": readers.reply_target,
        "record": readers.record_target,
        "readable": readers.readable_target,
    }
)
"""What makes each target ready."""

NAMES: Final = tuple(TARGETS)


def load(name: str) -> Target:
    """Make a target ready."""
    return TARGETS[name]()
