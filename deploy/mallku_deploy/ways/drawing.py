"""A command's way on a terminal: a line for what happened, a bar for how long it took."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from rich.text import Text

from mallku_deploy.auditing.table import fit, took
from mallku_deploy.ways.way import Attempt, Found, Step, Way

MIN_WIDTH: Final = 60
"""A narrower terminal breaks lines."""

_STEP, _TOOK, _INDENT = 11, 9, 14
_FULL, _PARTS = "█", " ▏▎▍▌▋▊▉"
_STYLES: Final = {
    "done": "green",
    "failed": "yellow",
    "denied": "bold red",
    "resolved": "magenta",
    "intent": "cyan",
}
_STEP_STYLES: Final = {"intend": "cyan", "execute": "green", "conclude": "cyan"}
_TICK_MS: Final = 1
"""To which both times are kept; a shorter way cannot be told from none, milliseconds."""

_APART: Final = "clocks stand apart"
_CLOCKS: Final = "signed: caller's clock · steps: worker's · stored: broker's"


def draw(way: Way, width: int) -> Iterator[Text]:
    """The whole way, line by line."""
    width = max(MIN_WIDTH, width)
    first, last = way.attempts[0], way.attempts[-1]
    yield from _head(way, last)
    for number, attempt in enumerate(way.attempts, 1):
        yield Text()
        yield from _attempt(attempt, number, len(way.attempts), first, width)
    yield Text()
    yield Text(_CLOCKS, style="dim")


def _head(way: Way, last: Attempt) -> Iterator[Text]:
    found = last.records[0]
    record, line = found.record, found.line
    title = Text(f"{line.operation} ", style="bold")
    title.append(
        next((each.line.target for each in reversed(last.records) if each.line.target), "")
    )
    title.append(f"  by {line.principal}", style="dim")
    yield title
    facts = [("id", way.wanted)]
    if way.key and way.key != way.attempts[0].id:
        facts.append(("key", way.key))
    if record.trace:
        facts.append(("trace", record.trace))
    if record.rule:
        facts.append(("allowed by", f"{record.rule}, policy {record.policy}"))
    yield from (_fact(name, value) for name, value in facts)


def _attempt(attempt: Attempt, number: int, of: int, first: Attempt, width: int) -> Iterator[Text]:
    found = attempt.end or attempt.intent or attempt.records[0]
    heading = Text(f"worker {found.record.worker}")
    if of > 1:
        later = _later(attempt, first)
        heading = Text(f"attempt {number}{later}, ") + heading
    heading.stylize("bold")
    yield heading
    if attempt.signed_ms is not None:
        yield _moment(attempt.signed_ms, "signed", _age(attempt), "dim")
    if attempt.arrived_ms is not None:
        yield _moment(attempt.arrived_ms, "received", "", "dim")
    yield from _bars(attempt.steps(), width)
    for each in attempt.records:
        yield _moment(each.entry.time, *_said(each))
    if attempt.end is None and attempt.resolution is None:
        yield Text(f"{'':{_INDENT}}no outcome yet", style="bold yellow")


def _bars(steps: list[Step], width: int) -> Iterator[Text]:
    """Each step where it took place in the whole."""
    whole_us = sum(step.took_us for step in steps)
    room = width - _INDENT - _STEP - _TOOK - 2
    for step in steps:
        line = Text(f"{'':{_INDENT}}{fit(step.name, _STEP)} {took(step.took_us):>{_TOOK}} ")
        line.append(bar(step, whole_us, room), style=_STEP_STYLES.get(step.name, "blue"))
        yield line


def bar(step: Step, whole_us: int, room: int) -> str:
    """A bar of the step's length at its place; something is seen of the shortest too."""
    if whole_us <= 0:
        return ""
    begin = min(int(step.begin_us * room / whole_us), room - 1)
    eighths = max(1, round(step.took_us * room * 8 / whole_us))
    full, part = divmod(eighths, 8)
    full = min(full, room - begin)
    return " " * begin + _FULL * full + (_PARTS[part] if part and begin + full < room else "")


def _said(found: Found) -> tuple[str, str, str]:
    record = found.record
    detail = {
        "denied": record.code or "",
        "failed": record.code or "",
        "resolved": record.resolution + (f": {record.reason}" if record.reason else ""),
    }.get(record.kind, "")
    if record.replayed_of:
        detail = f"answered from {record.replayed_of}, nothing was done again"
    elif record.kind == "done" and record.effects:
        count = len(record.effects)
        detail = f"{count} document{'s' if count > 1 else ''}"
        detail += "" if record.position is None else f", commit {record.position}"
    said = f"stored as {found.entry.sequence}" + (f"  {detail}" if detail else "")
    return record.kind, said, _STYLES.get(record.kind, "")


def _moment(time_ms: float, what: str, said: str, style: str) -> Text:
    moment = datetime.fromtimestamp(time_ms / 1_000, UTC)
    line = Text(f"{moment:%H:%M:%S}.{moment.microsecond // 1_000:03d}  ", style="dim")
    line.append(fit(what, _STEP), style=style)
    line.append(f" {said}")
    return line


def _fact(name: str, value: str) -> Text:
    line = Text(f"{name:<{_INDENT}}", style="dim")
    line.append(value, style="not dim")
    return line


def _age(attempt: Attempt) -> str:
    if attempt.signed_ms is None or attempt.arrived_ms is None:
        return ""
    way_ms = attempt.arrived_ms - attempt.signed_ms
    if abs(way_ms) < _TICK_MS:
        return f"less than {2 * _TICK_MS} ms before it was received"
    return f"{took(round(way_ms * 1_000))} before it was received" if way_ms > 0 else _APART


def _later(attempt: Attempt, first: Attempt) -> str:
    if attempt is first or attempt.signed_ms is None or first.signed_ms is None:
        return ""
    return f", {took((attempt.signed_ms - first.signed_ms) * 1_000)} later"


def described(way: Way) -> dict[str, Any]:
    """The way as plain values for JSON; times are Unix milliseconds, durations microseconds."""
    return {
        "id": way.wanted,
        "idempotency_key": way.key or None,
        "over": way.is_over,
        "attempts": [_described(each) for each in way.attempts],
    }


def _described(attempt: Attempt) -> dict[str, Any]:
    found = attempt.end or attempt.intent or attempt.records[0]
    record, line = found.record, found.line
    return {
        "id": attempt.id,
        "principal": line.principal,
        "operation": line.operation,
        "target": line.target,
        "worker": record.worker,
        "trace": record.trace or None,
        "rule": record.rule,
        "policy": record.policy,
        "signed": attempt.signed_ms,
        "received": attempt.arrived_ms,
        "steps": record.steps,
        "records": [
            {
                "sequence": each.entry.sequence,
                "stored": each.entry.time,
                "kind": each.record.kind,
                "code": each.record.code,
                "resolution": each.record.resolution or None,
                "replayed_of": each.record.replayed_of,
            }
            for each in attempt.records
        ],
    }
