"""The golden queries, as the tests of the language read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parents[1] / "stores" / "golden" / "aql-golden.jsonl"


def rows() -> list[dict[str, Any]]:
    """Every golden row, in the order of the file."""
    return [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
