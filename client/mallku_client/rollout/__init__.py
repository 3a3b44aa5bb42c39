"""Two ways to the same data while a service moves: `legacy`, `shadow`, `gateway`, by a flag.

::

    from functools import cache

    from mallku_client.mallku import get_database
    from mallku_client.rollout import WatchedRoutes, roll_out
    from mallku_client.sync import SecuredDatabaseInterface


    @cache
    def gateway():  # connects at the first look, again and again until it can
        return SecuredDatabaseInterface.connect()


    routes = WatchedRoutes(lambda: gateway().describe_flags())
    db = roll_out(legacy=old_database, gateway=get_database(), routes=routes)
    db.collection("memory_anchors").get("k1")  # whichever way the flag says, now
    db.rollout.report()  # what was compared, and how often it differed

The flag is the collection's line in the flags in force (`mallku-gateway flags push`), and is
watched: it may change between two calls, to either side. In `shadow` the old way answers; reads are
asked of the gateway too, later and beside it, and compared. Writes go one way, never two.
"""

from __future__ import annotations

from mallku_client.rollout.comparing import Verdict
from mallku_client.rollout.database import RolledOutCollection, RolledOutDatabase, roll_out
from mallku_client.rollout.routes import Routes, WatchedRoutes
from mallku_client.rollout.shadow import Difference, Shadow

__all__ = [
    "Difference",
    "RolledOutCollection",
    "RolledOutDatabase",
    "Routes",
    "Shadow",
    "Verdict",
    "WatchedRoutes",
    "roll_out",
]
