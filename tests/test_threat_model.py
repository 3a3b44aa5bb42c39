"""The page on threats and the suite of attacks name each other, and nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "threat-model.md"
ATTACKS = ROOT / "tests" / "attacks"


def _attacks() -> dict[str, str]:
    """The docstring of every attack by its name."""
    found: dict[str, str] = {}
    for file in sorted(ATTACKS.glob("test_*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test_"):
                assert node.name not in found, f"{node.name} stands twice"
                found[node.name] = ast.get_docstring(node) or ""
    return found


def _rows() -> list[list[str]]:
    """The cells of every row of a table of attacks."""
    lines = PAGE.read_text().split("## Attacks\n")[1].split("\n## ")[0].splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows if row[0].strip() != "attack"]


def test_every_attack_stands_on_the_page() -> None:
    """An attack that is tried is in the table, once, and one that is in the table is tried."""
    named = [name for row in _rows() for name in re.findall(r"`(test_\w+)`", row[-1])]
    assert len(named) == len(set(named))
    assert set(named) == set(_attacks())


def test_every_row_is_whole() -> None:
    """Attack, what stands in the way, where that is from, and at least one test."""
    rows = _rows()
    assert len(rows) > 50
    for row in rows:
        assert len(row) == 4, row
        attack, mitigation, _, tests = row
        assert attack, row
        assert mitigation, row
        assert "`test_" in tests, row


def test_every_decision_that_is_named_is_there() -> None:
    """`0019` in a table is a page in docs/decisions."""
    numbers = {number for row in _rows() for number in re.findall(r"\b00\d\d\b", row[2])}
    assert numbers
    for number in numbers:
        assert list((ROOT / "docs" / "decisions").glob(f"{number}-*.md")), number
