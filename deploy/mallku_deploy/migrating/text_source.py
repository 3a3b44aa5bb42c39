"""Looks through the lines of files that are not Python: settings, compose files, scripts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mallku_deploy.migrating.python_source import ADDRESS
from mallku_deploy.migrating.rules import RULES, Finding

ALLOWANCE: Final = re.compile(r"#\s*migrate:\s*allow\[(?P<codes>[^]]*)\]\s*(?P<reason>.*)")
"""What keeps a line, at its end or above it: `# migrate: allow[MG103] why`."""


_DEPENDENCY = re.compile(
    r"""(?:^\s*|["'])(?P<name>python-arango(?:-async)?|pyarango)\b""", re.IGNORECASE
)


def find_in_text(text: str, path: str) -> list[Finding]:
    """Every line of a file that names the database's own port, or its driver as a dependency."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if port := ADDRESS.search(line):
            found.append(Finding(path, number, port.start() + 1, "MG103", "port 8529"))
        if driver := _DEPENDENCY.search(line):
            column = driver.start("name") + 1
            found.append(Finding(path, number, column, "MG109", driver["name"]))
    return found


def heed_allowances(findings: Iterable[Finding], text: str, path: str) -> list[Finding]:
    """What is left when lines with a reason keep what they have.

    An allowance names rules that exist and says why; one that does not is a finding itself.
    """
    allowed: dict[int, set[str]] = {}
    unusable = []
    for number, line in enumerate(text.splitlines(), start=1):
        if (allowance := ALLOWANCE.search(line)) is None:
            continue
        codes = {code.strip() for code in allowance["codes"].split(",")}
        if wrong := _what_is_wrong(codes, allowance["reason"]):
            unusable.append(Finding(path, number, allowance.start() + 1, "MG002", wrong))
            continue
        alone = not line[: allowance.start()].strip()
        allowed.setdefault(number + alone, set()).update(codes)
    kept = (found for found in findings if found.code not in allowed.get(found.line, ()))
    return sorted([*kept, *unusable])


def _what_is_wrong(codes: set[str], reason: str) -> str:
    if unknown := sorted(codes - RULES.keys()):
        return f"no such rule: {', '.join(unknown)}" if any(unknown) else "no rule is named"
    return "" if reason.strip() else "no reason is given"
