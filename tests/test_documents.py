"""The documentation says what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_generated_parts_are_current() -> None:
    """Every table of settings and limits is what `docs/generate.py` makes of the code now."""
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr} (make docs)"


def test_every_setting_says_what_it_is() -> None:
    """No row of the tables is without a meaning."""
    guide = (ROOT / "docs" / "operator-guide.md").read_text()
    rows = [line for line in guide.splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert not [row for row in rows if row.rstrip().endswith("|  |")]
