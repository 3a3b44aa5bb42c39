"""One document as a register: what may stand there, and what an operation makes of it.

A value is a revision and a body. What is not known of it (the revision that a write of unknown
outcome gave) matches everything, and is known from the first operation on that sees it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

NOT_BODY: Final = frozenset({"_key", "_id", "_rev", "_from", "_to"})
"""Attributes that are the store's, or may be."""

_EXACT_FLOAT = 2**53


@dataclass(frozen=True, slots=True)
class Register:
    """A state of the register.

    Attributes:
        there: Whether there is a document; None where that is not known.
        rev: Its revision, None where it is not known.
        body: Its own attributes as canonical JSON, None where they are not known.
    """

    there: bool | None
    rev: str | None = None
    body: str | None = None

    def __str__(self) -> str:
        if self.there is None:
            return "anything"
        return f"revision {self.rev or 'unknown'}" if self.there else "no document"


ABSENT: Final = Register(there=False)
ANYTHING: Final = Register(there=None)


@dataclass(frozen=True, slots=True)
class Part:
    """What an operation does to one document: what it has to find, and what it leaves.

    Attributes:
        action: `see` changes nothing; `patch` merges `body` into what is there.
        there: Whether it has to find a document; None where it finds either.
        rev, found: The revision and the body that it has to find, where known.
        other_than: A revision that it must not find.
        owned: It is known who made `rev`: what an operation left whose revision is not known has
            another one.
        new_rev: The revision that it leaves, where known.
        body: What it puts there, canonical JSON; of a `patch` what is merged.
        whole: The body that a `patch` left, where known.
    """

    action: Literal["see", "put", "patch", "remove"]
    there: bool | None = None
    rev: str | None = None
    found: str | None = None
    other_than: str | None = None
    new_rev: str | None = None
    body: str | None = None
    whole: str | None = None
    keep_none: bool = True
    merge: bool = True
    owned: bool = False

    def apply(self, state: Register) -> Register | None:
        """The state behind it; None where it cannot have happened in this one."""
        if not self._fits(state):
            return None
        match self.action:
            case "see":
                return self._seen(state)
            case "put":
                return Register(True, self.new_rev, self.body)
            case "patch":
                return Register(True, self.new_rev, self.whole or self._patched(state))
            case "remove":
                return ABSENT

    def _fits(self, state: Register) -> bool:
        return (
            _agree(self.there, state.there)
            and (state.rev == self.rev if self.owned else _agree(self.rev, state.rev))
            and _agree(self.found, state.body)
            and (self.other_than is None or self.other_than != state.rev)
        )

    def _seen(self, state: Register) -> Register:
        if self.there is None:
            return state
        if not self.there:
            return ABSENT
        return Register(True, self.rev or state.rev, self.found or state.body)

    def _patched(self, state: Register) -> str | None:
        base = self.found or state.body
        if base is None or self.body is None:
            return None
        patch = json.loads(self.body)
        return canonical(
            _merged(json.loads(base), patch, keep_none=self.keep_none, merge=self.merge)
        )


def _agree(wanted: object, known: object) -> bool:
    return wanted is None or known is None or wanted == known


def canonical(document: dict[str, Any]) -> str:
    """A document's own attributes as text that is equal for equal documents."""
    body = {name: value for name, value in document.items() if name not in NOT_BODY}
    return json.dumps(_plain(body), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """Numbers that are equal become the same; a store may write 1.0 as 1."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_FLOAT:
        return int(value)
    return value


def _merged(
    old: dict[str, Any], patch: dict[str, Any], *, keep_none: bool, merge: bool
) -> dict[str, Any]:
    """As ArangoDB's `PATCH` (manual, "HTTP interface for documents").

    Said here once more than in the stores: a checker that asked the store's own code what is right
    would find it right.
    """
    new = dict(old)
    for name, value in patch.items():
        if value is None and not keep_none:
            new.pop(name, None)
        elif isinstance(value, dict):
            before = old.get(name) if merge else None
            base = before if isinstance(before, dict) else {}
            new[name] = _merged(base, value, keep_none=keep_none, merge=merge)
        else:
            new[name] = value
    return new
