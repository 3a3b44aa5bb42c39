"""Nothing that the verifier may find is left untested."""

from __future__ import annotations

from pathlib import Path

from mallku_contracts.trail.findings import Kind


def test_every_kind_is_planted() -> None:
    """A kind of finding that no test brings about is one that nobody has seen work."""
    text = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert [kind.name for kind in Kind if f"Kind.{kind.name}" not in text] == []
