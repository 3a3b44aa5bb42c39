"""A body for each operation, as a caller would send it; a test validates all of them."""

from __future__ import annotations

from typing import Any, Final

_KHIPU: Final = {"_key": "k1", "kind": "khipu", "weight": 3}
_FILTERS: Final = {"kind": "khipu"}

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "get": {"document": "k1"},
    "get-many": {"documents": ["k1", "k2"]},
    "exists": {"document": "k1"},
    "find": {"filters": _FILTERS, "sort": [{"sort_by": "weight"}], "limit": 10},
    "count": {"filters": _FILTERS},
    "aql": {"query": "FOR a IN khipu FILTER a.weight > @w RETURN a", "bind_vars": {"w": 2}},
    "next": {"cursor": "7f3a", "page": 1},
    "outcome": {"idempotency_key": "my-key"},
    "insert": {"document": _KHIPU},
    "insert-many": {"documents": [_KHIPU, {"kind": "knot"}]},
    "update": {"document": {"_key": "k1", "weight": 4}, "return_old": True},
    "update-many": {"documents": [{"_key": "k1", "weight": 4}]},
    "update-match": {"filters": _FILTERS, "body": {"weight": 4}, "limit": 100},
    "replace": {"document": _KHIPU},
    "replace-many": {"documents": [_KHIPU]},
    "replace-match": {"filters": _FILTERS, "body": {"kind": "knot"}},
    "upsert": {"filters": {"_key": "k1"}, "insert": _KHIPU, "update": {"weight": 5}},
    "delete": {"document": "k1", "ignore_missing": True},
    "delete-many": {"documents": ["k1", "k2"]},
    "delete-match": {"filters": _FILTERS, "limit": 100},
    "transaction": {
        "steps": [
            {"operation": "insert", "collection": "khipu", "arguments": {"document": _KHIPU}},
            {"operation": "delete", "collection": "knots", "arguments": {"document": "n1"}},
        ]
    },
    "create-collection": {"edge": False},
    "drop-collection": {"ignore_missing": True},
    "create-index": {"fields": ["weight"], "name": "by_weight"},
    "drop-index": {"index": "by_weight"},
    "create-graph": {
        "name": "strings",
        "edge_definitions": [
            {
                "edge_collection": "hangs_from",
                "from_vertex_collections": ["knots"],
                "to_vertex_collections": ["khipu"],
            }
        ],
    },
    "drop-graph": {"name": "strings"},
    "report-violation": {"violation": "direct access", "collection": "khipu"},
    "redrive": {"sequence": 17},
}


def example(operation: str) -> dict[str, Any]:
    """The arguments of an operation as somebody might give them; none where it takes none."""
    return EXAMPLES.get(operation, {})
