"""Whether two answers to the same question are the same, said without what stands in them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

MAX_COMPARED_CHARS: Final = 4_000_000
"""Of a larger answer no copy is kept for comparing it, characters of JSON."""

MAX_PATHS: Final = 8
"""Places that one difference names."""

REVISION: Final = "_rev"


class Verdict(StrEnum):
    """What a comparison came to."""

    EQUAL = "equal"
    DIFFERENT = "different"
    MOVED = "moved"
    """Documents changed between the two readings: their revisions say so. The rest is equal."""
    FAILED = "failed"
    """The gateway's way raised an error, and the old one had answered."""
    SKIPPED = "skipped"
    """Too large, or too many waited. Rows that nobody read to their end are not counted at all."""


def snapshot(answer: Any) -> str | None:
    """An answer as text that no caller can change any more; None when it is too large, or no value.

    What JSON has no word for is written as `str` has it; both ways' answers are, so that a date
    and its text are the same.
    """
    try:
        text = json.dumps(answer, sort_keys=True, default=str, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return None
    return text if len(text) <= MAX_COMPARED_CHARS else None


def compare(legacy: str, gateway: str, *, same_database: bool) -> tuple[Verdict, tuple[str, ...]]:
    """Compare two snapshots; the paths are where they differ, never what stands there.

    Args:
        same_database: Both ways lead to one database, so that two revisions of a document mean that
            it was changed in between. Otherwise revisions say nothing, and are not looked at.
    """
    if legacy == gateway:
        return Verdict.EQUAL, ()
    left, right = json.loads(legacy), json.loads(gateway)
    moved: frozenset[str] = frozenset()
    if same_database:
        moved = _moved(_revisions(left), _revisions(right))
        left, right = _except(left, moved), _except(right, moved)
    else:
        left, right = _without_revisions(left), _without_revisions(right)
    if isinstance(left, list) and isinstance(right, list):
        left, right = _only_in(left, right), _only_in(right, left)
    paths: list[str] = []
    for path in _differences(left, right, "$"):
        paths.append(path)
        if len(paths) == MAX_PATHS:
            break
    if paths:
        return Verdict.DIFFERENT, tuple(paths)
    return (Verdict.MOVED if moved else Verdict.EQUAL), ()


def _without_revisions(value: Any) -> Any:
    match value:
        case dict():
            return {k: _without_revisions(each) for k, each in value.items() if k != REVISION}
        case list():
            return [_without_revisions(each) for each in value]
        case _:
            return value


def _revisions(value: Any) -> dict[str, str]:
    """The revision of each document in an answer, by its id; at the top or in a list."""
    documents = value if isinstance(value, list) else [value]
    return {
        str(each["_id"]): str(each[REVISION])
        for each in documents
        if isinstance(each, Mapping) and "_id" in each and REVISION in each
    }


def _moved(left: Mapping[str, str], right: Mapping[str, str]) -> frozenset[str]:
    """The documents that both readings have, each in another revision."""
    return frozenset(name for name in left.keys() & right.keys() if left[name] != right[name])


def _except(value: Any, moved: frozenset[str]) -> Any:
    """An answer without these documents; None where it is one of them."""
    if isinstance(value, list):
        return [each for each in value if not _revisions(each).keys() & moved]
    return None if _revisions(value).keys() & moved else value


def _only_in(rows: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """What stands in `rows` more often than in the others: their order is nobody's promise."""
    spare = Counter(map(_text, others))
    left = []
    for row in rows:
        if spare[_text(row)]:
            spare[_text(row)] -= 1
        else:
            left.append(row)
    return left


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _differences(left: Any, right: Any, path: str) -> Iterator[str]:
    if isinstance(left, dict) and isinstance(right, dict):
        for name in sorted(left.keys() | right.keys()):
            if name not in left or name not in right:
                yield f"{path}.{name}"
            else:
                yield from _differences(left[name], right[name], f"{path}.{name}")
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for place, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from _differences(one, other, f"{path}[{place}]")
    elif type(left) is not type(right) or left != right:
        yield path
