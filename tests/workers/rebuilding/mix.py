"""Commands at random, of every operation that changes something."""

from __future__ import annotations

import random
from typing import Any

TOUCH = "FOR p IN people FILTER p.n < @n UPDATE p WITH {by: @who} IN people"
_OVERWRITE = (
    "FOR i IN 1..3 INSERT {_key: CONCAT('k', i), i, _from: 'a/b', _to: 'c/d'} INTO COLL"
    " OPTIONS {overwriteMode: 'update'}"
)
_UPSERT = (
    "UPSERT {_key: @k} INSERT {_key: @k, u: 1, _from: 'people/k1', _to: 'a/b'}"
    " UPDATE {u: 2} IN COLL"
)
_QUERIES: list[tuple[str, dict[str, Any] | None]] = [
    ("FOR d IN COLL FILTER d.tag == @t UPDATE d WITH {n: 7} IN COLL", {"t": "x"}),
    ("FOR d IN COLL SORT d._key LIMIT 2 REMOVE d IN COLL", {}),
    ("INSERT {_from: 'people/k1', _to: 'pets/k2', a: @a} INTO COLL", {"a": [1]}),
    (_OVERWRITE, {}),
    (_UPSERT, None),
    (
        "FOR d IN COLL FILTER d.n > 50 REPLACE d WITH {r: d.n, _from: 'a/b', _to: 'c/d'} IN COLL",
        {},
    ),
]
KEYS = [f"k{number}" for number in range(12)]
NAMES = ("people", "pets", "knows")


class Mix:
    """Commands at random, of every operation that mutates."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._deck: list[str] = []

    def command(self) -> tuple[str, str | None, str, dict[str, Any]]:
        """Operation, collection, principal and arguments of the next one."""
        r = self.random
        if not self._deck:
            self._deck = r.sample(
                list(_WEIGHTS), k=sum(_WEIGHTS.values()), counts=_WEIGHTS.values()
            )
        operation = self._deck.pop()
        make: Any = getattr(self, f"_{operation.replace('-', '_')}")
        by = r.choice(("mallku", "mallku", "other"))
        collection, arguments = make(r.choice(NAMES))
        return operation, collection, by, arguments

    def key(self) -> str:
        """One of few, so that commands meet."""
        return self.random.choice(KEYS)

    def body(self, **more: Any) -> dict[str, Any]:
        """A document's attributes."""
        r = self.random
        return {
            "n": r.choice([r.randrange(100), r.random() * 100, float(r.randrange(100))]),
            "tag": r.choice(["q1", "q2", "x", "ü"]),
            "deep": {r.choice("ab"): [r.randrange(3), None, {"c": r.random()}]},
            "_from": f"people/{self.key()}",
            "_to": f"pets/{self.key()}",
            **({"secret": r.randrange(9)} if r.random() < 0.1 else {}),
            **more,
        }

    def keyed(self) -> dict[str, Any]:
        """A document with one of the keys, or none."""
        return self.body(_key=self.key()) if self.random.random() < 0.7 else self.body()

    def _insert(self, name: str) -> Any:
        mode = self.random.choice([None, None, "ignore", "replace", "update"])
        return name, {
            "document": self.keyed(),
            "overwrite_mode": mode,
            "silent": self.random.random() < 0.5,
        }

    def _insert_many(self, name: str) -> Any:
        mode = self.random.choice([None, "ignore", "replace", "update"])
        documents = [self.keyed() for _ in range(self.random.randrange(6))]
        return name, {"documents": documents, "overwrite_mode": mode}

    def _update(self, name: str) -> Any:
        patches: list[dict[str, Any]] = [{"n": self.random.randrange(100)}, {"deep": {"b": 1}}, {}]
        patch = self.random.choice(patches)
        return name, {
            "document": {"_key": self.key(), **patch},
            "merge": self.random.random() < 0.5,
            "return_new": True,
        }

    def _update_many(self, name: str) -> Any:
        documents = [{"_key": self.key(), "tag": self.random.choice("pq")} for _ in range(4)]
        return name, {"documents": documents}

    def _update_match(self, name: str) -> Any:
        return name, {
            "filters": {"tag": self.random.choice(["q1", "x"])},
            "body": {"n": None, "deep": {"m": self.random.randrange(9)}},
            "keep_none": self.random.random() < 0.5,
        }

    def _replace(self, name: str) -> Any:
        return name, {"document": self.body(_key=self.key())}

    def _replace_many(self, name: str) -> Any:
        return name, {"documents": [self.body(_key=self.key()) for _ in range(4)]}

    def _replace_match(self, name: str) -> Any:
        return name, {"filters": {"tag": "q2"}, "body": self.body(), "limit": 3}

    def _upsert(self, name: str) -> Any:
        changes: list[dict[str, Any]] = [{"update": {"n": 5}}, {"replace": self.body()}]
        change = self.random.choice(changes)
        filters = self.random.choice([{"_key": self.key()}, {"tag": "q1"}])
        return name, {"filters": filters, "insert": self.keyed(), **change}

    def _delete(self, name: str) -> Any:
        return name, {"document": self.key(), "ignore_missing": True}

    def _delete_many(self, name: str) -> Any:
        return name, {"documents": [self.key(), self.key()]}

    def _delete_match(self, name: str) -> Any:
        return name, {"filters": {"tag": "x"}, "limit": 4}

    def _transaction(self, _name: str) -> Any:
        steps = []
        kinds = ["insert", "update", "replace", "delete", "upsert", "insert-many", "update-match"]
        for kind in self.random.choices(kinds, k=self.random.randrange(1, 4)):
            make: Any = getattr(self, f"_{kind.replace('-', '_')}")
            collection, arguments = make(self.random.choice(NAMES))
            steps.append({"operation": kind, "collection": collection, "arguments": arguments})
        return None, {"steps": steps}

    def _aql(self, name: str) -> Any:
        if self.random.random() < 0.2:
            return None, {"query": TOUCH, "bind_vars": {"n": self.random.randrange(60)}}
        text, binds = self.random.choice(_QUERIES)
        query = text.replace("COLL", name)
        binds = {"k": self.key()} if binds is None else binds
        return None, {"query": query, "bind_vars": binds}

    def _create_collection(self, name: str) -> Any:
        return name, {"edge": name == "knows"}

    def _drop_collection(self, name: str) -> Any:
        return name, {"ignore_missing": self.random.random() < 0.5}

    def _truncate(self, name: str) -> Any:
        return name, {}

    def _create_index(self, name: str) -> Any:
        fields = self.random.choice([["n"], ["tag", "n"], ["deep.a"], ["owner"]])
        return name, {
            "fields": fields,
            "name": self.random.choice([None, None, "by_it"]),
            "sparse": self.random.random() < 0.5,
            "unique": fields == ["deep.a"],
        }

    def _drop_index(self, name: str) -> Any:
        return name, {"index": "by_it", "ignore_missing": True}

    def _create_graph(self, _name: str) -> Any:
        ends = {"from_vertex_collections": ["people"], "to_vertex_collections": ["pets"]}
        return None, {
            "name": self.random.choice(["one", "two"]),
            "edge_definitions": [{"edge_collection": "knows", **ends}],
        }

    def _drop_graph(self, _name: str) -> Any:
        return None, {"name": self.random.choice(["one", "two"]), "ignore_missing": True}


_WEIGHTS = {
    "insert": 20,
    "insert-many": 6,
    "update": 8,
    "update-many": 4,
    "update-match": 3,
    "replace": 5,
    "replace-many": 3,
    "replace-match": 2,
    "upsert": 6,
    "delete": 6,
    "delete-many": 3,
    "delete-match": 1,
    "transaction": 8,
    "aql": 10,
    "create-collection": 8,
    "drop-collection": 1,
    "truncate": 1,
    "create-index": 3,
    "drop-index": 2,
    "create-graph": 2,
    "drop-graph": 2,
}
