"""How workers are shown: one row each, what is wrong with them below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mallku_deploy.watching.sighting import Sighting

_COLUMNS: Final = (
    ("worker", "left"),
    ("id", "left"),
    ("state", "left"),
    ("cmd/s", "right"),
    ("busy", "right"),
    ("errors", "right"),
    ("breaker", "left"),
    ("audit", "left"),
    ("lag", "right"),
    ("up", "right"),
)
_GIVING_WAY: Final = ("worker", "breaker")
"""What becomes narrower where the terminal is: the others say nothing when they are cut."""

_MS_PER_S: Final = 1_000
_ID_CHARS: Final = 8
_SHARED: Final = ("store", "durability", "policy_version")
_PLAIN: Final = 100_000
_THOUSANDS: Final = ((1_000_000, "M"), (1_000, "k"))
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"))


@dataclass(frozen=True, slots=True)
class Glance:
    """What was seen at one moment; `at_s` is monotonic seconds."""

    at_s: float
    sightings: tuple[Sighting, ...]

    def rate(self, one: Sighting, former: Glance | None) -> float | None:
        """Commands a second since the glance before; None where nothing was seen before."""
        if former is None or self.at_s <= former.at_s:
            return None
        before = next((each for each in former.sightings if each.instance == one.instance), None)
        if before is None:
            return None
        more = _number(one.state, "requests") - _number(before.state, "requests")
        return max(more, 0.0) / (self.at_s - former.at_s)


def draw(now: Glance, former: Glance | None, *, expected: int = 0) -> RenderableType:
    """A table of all workers, and what is to be said about them.

    Args:
        expected: How many there should be; 0 for nobody knows.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for name, side in _COLUMNS:
        table.add_column(
            name,
            justify="right" if side == "right" else "left",
            no_wrap=name not in _GIVING_WAY,
            overflow="ellipsis",
        )
    for one in now.sightings:
        table.add_row(*_row(one, now.rate(one, former)))
    return Group(_title(now.sightings), table, *_complaints(now.sightings, expected))


def _title(sightings: Sequence[Sighting]) -> Text:
    """What all of them have in common, or between which each has one."""
    versions = _every(one.version for one in sightings)
    store, durability, policy = (
        _every(one.metadata.get(name, "") for one in sightings) for name in _SHARED
    )
    count = "1 worker" if len(sightings) == 1 else f"{len(sightings)} workers"
    said = f"{count}, version {versions}, store {store} ({durability}),"
    return Text(f"{said} policy {policy}" if sightings else "", "dim")


def _every(values: Iterable[str]) -> str:
    return " | ".join(sorted(set(values)))


def _row(one: Sighting, rate: float | None) -> list[Text]:
    state, audit = one.state, _map(one.state, "audit")
    return [
        Text(one.principal or "?", "bold" if one.principal else "bold red"),
        Text(one.instance[:_ID_CHARS], "dim"),
        _state(one),
        Text("" if rate is None else f"{rate:.0f}"),
        Text(f"{_number(state, 'in_flight'):.0f}"),
        Text(_count(_number(state, "errors"))),
        _breakers(_map(state, "breakers")),
        _audit(audit),
        Text(f"{_number(state, 'lag_s') * _MS_PER_S:.0f} ms"),
        Text(_age(_number(state, "uptime_s"))),
    ]


def _state(one: Sighting) -> Text:
    if one.doubt:
        return Text("not believed", "bold red")
    if one.is_ready:
        return Text("ready", "green")
    return Text("draining" if one.state.get("draining") else "not ready", "yellow")


def _breakers(states: Mapping[str, Any]) -> Text:
    odd = [
        f"{name} {str(state).removesuffix('-open')}"
        for name, state in states.items()
        if state != "closed"
    ]
    if odd:
        return Text(", ".join(odd), "yellow")
    return Text("closed" if states else "", "green")


def _audit(audit: Mapping[str, Any]) -> Text:
    pending = _number(audit, "pending")
    if not audit.get("answers"):
        return Text(f"silent {pending:.0f}", "bold red")
    return Text(f"{pending:.0f} wait", "yellow") if pending else Text("ok", "green")


def _complaints(sightings: Sequence[Sighting], expected: int) -> list[Text]:
    lines = [
        Text.from_markup(f"[yellow]{escape(one.principal or one.instance)}[/]: {escape(reason)}")
        for one in sightings
        for reason in one.reasons
    ]
    if not sightings:
        lines.append(Text("no worker answers", "bold red"))
    elif len(sightings) < expected:
        missing = f"{len(sightings)} of {expected} workers answer"
        lines.append(Text(missing, "yellow"))
    return lines


def _count(number: float) -> str:
    """In five characters at most, up to ten thousand millions."""
    for size, unit in _THOUSANDS:
        if number >= _PLAIN * size / 1_000:
            return f"{number / size:.0f}{unit}"
    return f"{number:.0f}"


def _age(seconds: float) -> str:
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _number(of: Mapping[str, Any], name: str) -> float:
    value = of.get(name, 0)
    return float(value) if isinstance(value, int | float) else 0.0


def _map(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = of.get(name)
    return value if isinstance(value, dict) else {}
