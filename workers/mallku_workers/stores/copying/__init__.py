"""Moving everything in one database to another store: documents, edges, indexes, graphs.

An offline administrator's tool: it holds database credentials and speaks to the stores, not to the
gateway, so that nothing of it is on the audit trail. Workers should be stopped meanwhile.
"""

from __future__ import annotations

from mallku_workers.stores.copying.compare import Compared, compare
from mallku_workers.stores.copying.copy import Copier, Watch, copy
from mallku_workers.stores.copying.sides import (
    Credentials,
    Side,
    Spec,
    open_source,
    open_target,
    read_spec,
)
from mallku_workers.stores.copying.state import State, StateFile, state_name
from mallku_workers.stores.copying.verify import Verified

__all__ = [
    "Compared",
    "Copier",
    "Credentials",
    "Side",
    "Spec",
    "State",
    "StateFile",
    "Verified",
    "Watch",
    "compare",
    "copy",
    "open_source",
    "open_target",
    "read_spec",
    "state_name",
]
