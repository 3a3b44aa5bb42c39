"""The report of a chaos run, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.chaos.round import Round
from tests.chaos.schedule import KINDS, STEPS
from tests.support.marked import write_between


def report(rounds: list[Round], seconds: float, command: str) -> str:
    """What was done, to what, and what was found."""
    verdicts = [one.verdict for one in rounds]
    anomalies = sum(verdict.anomalies for verdict in verdicts)
    undecided = sum(verdict.undecided for verdict in verdicts)
    surprises = sum(len(one.surprises) for one in rounds)
    calls = _sum(one.told for one in rounds)
    kills = _sum(one.kills for one in rounds)
    what = f"{calls.total():,} calls, {kills.total():,} killed processes"
    lines = [
        f"`{command}`: {len(rounds)} rounds in {seconds / 60:.1f} minutes, {what}.",
        "",
        f"**{anomalies} anomalies**, {undecided} undecided, {surprises} surprises.",
        "",
        *_table(("what", "how many"), _rows(rounds, calls, kills)),
        "",
        *_table(
            ("gateway", "rounds", "kills", "calls", "recovered within"),
            [_of_kind(kind, [one for one in rounds if one.kind == kind]) for kind in KINDS],
        ),
        "",
        *_table(("fault", "times"), sorted(_sum(one.done for one in rounds).items())),
        "",
        *_table(("what a wire did", "times"), sorted(_sum(one.wire for one in rounds).items())),
        "",
        *_table(("what callers were told", "calls"), calls.most_common()),
        "",
        "Places in a worker where one was struck: " + ", ".join(_struck(rounds)) + ".",
    ]
    missed = set(STEPS) - set(_struck(rounds))
    if missed:
        lines.append(f"Nobody came by: {', '.join(sorted(missed))}.")
    lines += _findings(rounds)
    return "\n".join(lines) + "\n"


def write_into(path: Path, name: str, text: str) -> None:
    """Put a report between the marks of this name in a document.

    Raises:
        ValueError: the document has no such marks.
    """
    write_between(path, f"<!-- {name} -->", f"<!-- /{name} -->", text)


def _rows(
    rounds: list[Round], calls: Counter[str], kills: Counter[str]
) -> Iterable[tuple[str, int]]:
    yield "calls", calls.total()
    yield "calls with a result", calls["done"]
    yield "mutations or reads of unknown outcome", calls["outcome_unknown"]
    yield "documents judged", sum(one.verdict.documents for one in rounds)
    yield "operations on them", sum(one.verdict.operations for one in rounds)
    yield "documents looked for in the store", sum(one.verdict.looked for one in rounds)
    yield "documents held against the store", sum(one.verdict.compared for one in rounds)
    yield "intents on the trail", sum(one.verdict.intents for one in rounds)
    yield "commits on the trail", sum(one.verdict.commits for one in rounds)
    yield "workers killed", kills["worker"]
    ended = sum(one.ended.total() for one in rounds)
    yield "workers that ended while broker or store were away", ended
    yield "nats-servers killed", kills["nats-server"]


def _of_kind(kind: str, rounds: list[Round]) -> tuple[Any, ...]:
    slowest = max((one.recovery_s for one in rounds), default=0.0)
    return (
        kind,
        len(rounds),
        sum(one.kills.total() for one in rounds),
        sum(one.told.total() for one in rounds),
        f"{slowest:.1f} s",
    )


def _struck(rounds: list[Round]) -> list[str]:
    struck = {step for one in rounds for step in one.struck}
    return [step for step in STEPS if step in struck]


def _findings(rounds: list[Round]) -> Iterable[str]:
    for one in rounds:
        if one.clean:
            continue
        yield ""
        yield f"In `{one.reproduction}`:"
        yield ""
        for finding in one.verdict.findings[:20]:
            yield f"* {finding.kind} {finding.about}: {finding.text}"
        yield from (f"* {surprise}" for surprise in one.surprises[:20])


def _sum(counters: Iterable[Counter[str]]) -> Counter[str]:
    total = Counter[str]()
    for counter in counters:
        total.update(counter)
    return total


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> Iterable[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "|".join("---" for _ in head) + "|"
    for row in rows:
        yield (
            "| "
            + " | ".join(f"{each:,}" if isinstance(each, int) else str(each) for each in row)
            + " |"
        )
