"""The functions as Markdown: those there are, and those there are not."""

from __future__ import annotations

from collections.abc import Iterable

from mallku_workers.stores.embedded.aql.functions import GROUPS, MISSING
from mallku_workers.stores.embedded.aql.functions.base import MANY, Function
from mallku_workers.stores.embedded.aql.lookups import LOOKUPS


def list_functions() -> str:
    """Every function with the number of its arguments, then the missing ones with the reason."""
    rows = [(title, ", ".join(map(_said, group))) for title, group in GROUPS.items()]
    store = (Function(name, one.min_args, one.max_args, print) for name, one in LOOKUPS.items())
    known = {function.name for group in GROUPS.values() for function in group}
    asking = (function for function in store if function.name not in known)
    rows.append(("Asking the store", ", ".join(map(_said, asking))))
    missing = [(why, ", ".join(f"`{name}`" for name in names)) for why, names in MISSING.items()]
    return "\n\n".join(
        (
            _table(("about", "functions"), rows),
            _table(("missing, for it needs", "functions"), missing),
        )
    )


def _said(function: Function) -> str:
    least, most = function.min_args, function.max_args
    count = str(least) if least == most else f"{least}…{'' if most == MANY else most}"
    return f"`{function.name}` ({count})"


def _table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {one} | {other} |" for one, other in (head, ("---", "---"), *rows)]
    return "\n".join(lines)
