"""Which keys and principals are refused whatever their tokens say: the document of kind `keys`.

::

    {"revoked": {"NAME": {"reason": "the laptop was stolen", "since": 1767225600000}, …}}

A name is a principal or a key id. A list replaces the one before it: what is not in it any more is
not revoked any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mallku_contracts.limits import MAX_TIME_MS
from mallku_contracts.subjects import is_name
from mallku_contracts.wording import complaints, dotted

MAX_REVOKED: Final = 10_000
"""Names in one list; an older key leaves it when the last of its tokens has expired."""

MAX_REASON_CHARS: Final = 200
"""Why a name was revoked, characters."""


class RevocationError(ValueError):
    """The text is not a revocation list; the message says what is wrong in it."""


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"{text[:80]!r} is neither a principal nor a key id")
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a reason is one line of printable characters")
    return text


Name = Annotated[str, AfterValidator(_name)]


class Revocation(BaseModel):
    """Why a name is refused, and since when (Unix milliseconds)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    reason: Annotated[
        str, Field(min_length=1, max_length=MAX_REASON_CHARS), AfterValidator(_printable)
    ]
    since: int = Field(ge=0, le=MAX_TIME_MS)


class RevocationList(BaseModel):
    """The whole list; immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    revoked: dict[Name, Revocation] = Field(default_factory=dict, max_length=MAX_REVOKED)

    def __contains__(self, name: object) -> bool:
        return name in self.revoked

    def with_names(self, names: Iterable[str], reason: str, now_ms: int) -> Self:
        """The list with these names too; `RevocationError` when one cannot stand in it."""
        entry = {"reason": reason, "since": now_ms}
        return self._changed(self._plain() | {name: dict(entry) for name in names})

    def without(self, names: Iterable[str]) -> Self:
        """The list without these names; `RevocationError` names one that does not stand in it."""
        entries = self._plain()
        for name in names:
            if entries.pop(name, None) is None:
                raise RevocationError(f"{name!r} is not on the list")
        return self._changed(entries)

    def to_text(self) -> str:
        """The list as indented JSON."""
        return json.dumps(self.model_dump(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read a list; `RevocationError` says where it is wrong."""
        try:
            value = json.loads(text, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise RevocationError(f"not JSON: {error}") from None
        return cls._checked(value)

    def _plain(self) -> dict[str, object]:
        return {name: entry.model_dump() for name, entry in self.revoked.items()}

    def _changed(self, entries: Mapping[str, object]) -> Self:
        return self._checked({"revoked": dict(entries)})

    @classmethod
    def _checked(cls, value: object) -> Self:
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            first = complaints(error, cls, most=1)[0]
            raise RevocationError(f"{dotted(first.place) or 'the list'}: {first.message}") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name stands twice in the same object")
    return value
