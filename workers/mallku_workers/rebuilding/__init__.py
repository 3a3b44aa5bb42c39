"""A database made again of the audit trail alone: what the records say, put in commit order.

Pure of the network: whoever rebuilds feeds the records in (`Gathering`), and gives a store to put
them into (`Applying`). What was understood lies in a work file (`WorkFile`) between the two, sorted
by commit position, so that neither memory nor the order of records bounds what can be rebuilt.
"""

from __future__ import annotations

from mallku_workers.rebuilding.applying import Applying
from mallku_workers.rebuilding.gathering import Gathering, Wanted
from mallku_workers.rebuilding.rebuilt import Rebuilt
from mallku_workers.rebuilding.workfile import Identity, WorkFile

__all__ = ["Applying", "Gathering", "Identity", "Rebuilt", "Wanted", "WorkFile"]
