"""A version of a document as a line of JSON, and as lines for people: pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from rich.text import Text

from mallku_deploy.auditing.changes import Change
from mallku_deploy.auditing.versions import State, Version
from mallku_deploy.decoding.readable import clock
from mallku_deploy.rows import escaped

MAX_SHOWN_CHANGES: Final = 20
"""Changed fields of one version that are shown to people."""

MAX_VALUE_CHARS: Final = 60
"""One value in a difference, characters."""

_SIGNS: Final = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}

STATES: Final = {
    State.REMOVED: "removed",
    State.OMITTED: "the new version was too large for its record, which holds its revision alone",
    State.DIGEST: "recorded as keyed hashes: the policy keeps what this collection holds off the"
    " trail",
    State.UNCERTAIN: "may have changed it: the record names fewer documents than it touched",
}
"""What is said of versions that the trail does not hold."""


def as_map(version: Version) -> dict[str, Any]:
    """A version as a line of JSON."""
    changes = version.changes
    return {
        "sequence": version.sequence,
        "stored": clock(version.time),
        "position": version.position,
        "principal": version.principal,
        "via": version.via or None,
        "operation": version.operation,
        "rule": version.rule,
        "policy": version.policy,
        "command": version.command,
        "state": version.state.value,
        "resolved": version.resolved,
        "follows": version.follows,
        "old_rev": version.old_rev,
        "new_rev": version.new_rev,
        "document": version.document,
        "changes": None if changes is None else [_change_map(change) for change in changes],
    }


def _change_map(change: Change) -> dict[str, Any]:
    shown: dict[str, Any] = {"what": change.what, "path": list(change.path)}
    if change.what != "added":
        shown["old"] = change.old
    if change.what != "removed":
        shown["new"] = change.new
    return shown


def describe(number: int, version: Version) -> list[Text]:
    """A version for people: who, when, under which rule, and what changed."""
    head = Text(f"{number:>3}  {clock(version.time)}  ", style="dim")
    head.append(version.operation, style="bold red" if _removes(version) else "bold")
    head.append(f" by {version.principal}", style="bold cyan")
    if version.via:
        head.append(f" via {escaped(version.via)}", style="cyan")
    under = f"  {version.rule}" if version.rule else ""
    head.append(f"{under}  seq {version.sequence}", style="dim")
    lines = [head]
    if not version.follows:
        lines.append(
            _remark(
                f"made of revision {version.old_rev or 'none'}: the trail shown here"
                " does not hold what came between"
            )
        )
    if version.resolved:
        lines.append(_remark("its worker died before it could say so: found out afterwards"))
    if version.state in STATES:
        lines.append(_remark(STATES[version.state]))
    elif version.changes is None:
        lines.append(_remark(f"made of revision {version.old_rev}, which the trail does not hold"))
    elif not version.changes:
        lines.append(_remark("nothing changed but the revision"))
    return lines + _differences(version.changes or ())


def _removes(version: Version) -> bool:
    return version.state is State.REMOVED


def _remark(text: str) -> Text:
    return Text(f"       {text}", style="italic magenta")


def _differences(changes: Sequence[Change]) -> list[Text]:
    lines = [_difference(change) for change in changes[:MAX_SHOWN_CHANGES]]
    if len(changes) > MAX_SHOWN_CHANGES:
        more = len(changes) - MAX_SHOWN_CHANGES
        lines.append(_remark(f"and {more:,} more fields; --json shows all"))
    return lines


def _difference(change: Change) -> Text:
    sign, style = _SIGNS[change.what]
    name = escaped(path_text(change.path))
    old, new = value_text(change.old), value_text(change.new)
    said = {"added": new, "removed": old, "changed": f"{old} → {new}"}[change.what]
    return Text(f"     {sign} {name}: {said}", style=style)


def path_text(path: Sequence[str]) -> str:
    """A path as people write it: `tags[2].name`."""
    return "".join(
        f"[{step}]" if step.isdecimal() and place else f".{step}" if place else step
        for place, step in enumerate(path)
    )


def value_text(value: Any) -> str:
    """A value in one short line."""
    text = escaped(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[: MAX_VALUE_CHARS - 1]}…"
