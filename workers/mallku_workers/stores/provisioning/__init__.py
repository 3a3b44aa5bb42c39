"""What a store should hold, written down in a file, and the steps that lead there.

The core (`declared`, `plan`) is pure: a declaration and what there is go in, steps come out. Around
it, one pair of hands for each kind of store looks and carries out.
"""

from __future__ import annotations

from mallku_workers.stores.provisioning.declared import Declaration, read_declaration, read_drop
from mallku_workers.stores.provisioning.hands import ArangoHands, EmbeddedHands, Hands
from mallku_workers.stores.provisioning.plan import Action, Plan, Step, make_plan

__all__ = [
    "Action",
    "ArangoHands",
    "Declaration",
    "EmbeddedHands",
    "Hands",
    "Plan",
    "Step",
    "make_plan",
    "read_declaration",
    "read_drop",
]
