"""Users and the end of databases for the simulated ArangoDB (HTTP manual, "Users").

Put in front of a server with `server.before = Users(server)`.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from tests.support.simulated_arango import Answer, Asked, SimulatedArango, done, failure
from tests.support.simulated_arango_engine import Fault


class Users:
    """Answers what is about users; everything else passes.

    Attributes:
        levels: By user, database and collection; "" is the database itself.
        asked: What was asked of it, as method and path.
    """

    def __init__(self, server: SimulatedArango) -> None:
        self._server = server
        self.levels: dict[str, dict[str, dict[str, str]]] = {}
        self.asked: list[str] = []

    def __call__(self, asked: Asked) -> Answer | None:
        """The answer, None where it is not about users."""
        parts = [unquote(part) for part in asked.path.split("/")[3:]]
        drops = asked.method == "DELETE" and re.fullmatch(r"/_api/database/[^/]+", asked.path)
        if not asked.path.startswith("/_api/user") and not drops:
            return None
        self.asked.append(f"{asked.method} {asked.path}")
        try:
            self._authorize(asked)
            return self._drop_database(parts[0]) if drops else self._answer(asked, parts)
        except Fault as fault:
            return failure(fault)

    def _authorize(self, asked: Asked) -> None:
        self._server._authorize(asked)
        if asked.database != "_system":
            raise Fault(1230, 400, "operation only allowed in system database")

    def _drop_database(self, name: str) -> Answer:
        engine = self._server.databases.pop(name, None)
        if engine is None:
            raise Fault(1228, 404, "database not found")
        engine.close()
        return done({"result": True})

    def _answer(self, asked: Asked, parts: list[str]) -> Answer:
        users = self._server.users
        if not parts:
            if asked.method == "GET":
                return done({"result": [{"user": name, "active": True} for name in users]})
            return self._create(asked.body)
        if parts[0] not in users:
            raise Fault(1703, 404, "user not found")
        return self._about(asked, *parts)

    def _create(self, body: dict[str, Any]) -> Answer:
        if body["user"] in self._server.users:
            raise Fault(1702, 409, "duplicate user")
        self._server.users[body["user"]] = body["passwd"]
        return done({"user": body["user"]}, 201)

    def _about(self, asked: Asked, name: str, *rest: str) -> Answer:
        if not rest and asked.method == "DELETE":
            del self._server.users[name]
            self.levels.pop(name, None)
            return done({}, 202)
        if not rest and asked.method == "PATCH":
            self._server.users[name] = asked.body["passwd"]
            return done({"user": name})
        if asked.method == "PUT":
            _, database, collection = (*rest, "")[:3]
            if database not in self._server.databases:
                raise Fault(1228, 404, "database not found")
            known = self.levels.setdefault(name, {}).setdefault(database, {})
            known[collection] = asked.body["grant"]
            return done({})
        return done({"result": self._listed(name)})

    def _listed(self, name: str) -> dict[str, Any]:
        return {
            database: {
                "permission": levels.get("", "undefined"),
                "collections": {one: level for one, level in levels.items() if one},
            }
            for database, levels in self.levels.get(name, {}).items()
        }
