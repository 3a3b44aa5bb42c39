from __future__ import annotations

import pytest

from tests.support.made_trail import MadeTrail


@pytest.fixture
def trail() -> MadeTrail:
    """Two workers; the first has written some commands and a checkpoint over them."""
    made = MadeTrail()
    made.start("w1")
    made.start("w2")
    for _ in range(5):
        made.command("w1")
    made.checkpoint("w1")
    return made
