"""Good inputs to begin with: a command of every operation, golden queries, policies, records."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from mallku_contracts.operations import OPERATIONS

_TESTS: Final = Path(__file__).parents[1]
_ROOT: Final = _TESTS.parent

DOCUMENT: Final[dict[str, Any]] = {
    "_key": "k1",
    "kind": "khipu",
    "weight": 3,
    "at": 1.5,
    "tags": ["a", "b", None],
    "meta": {"closed": False, "place": {"lat": -13.5, "lon": -71.9}},
}
_FILTERS: Final = {"kind": "khipu", "meta.place.lat": -13.5}
_CHANGE: Final = {"_key": "k1", "weight": 4, "meta": {"closed": True}}

BODIES: Final[dict[str, list[dict[str, Any]]]] = {
    "get": [{"document": "k1"}, {"document": {"_id": "memory_anchors/k1"}, "rev": "_1"}],
    "get-many": [{"documents": ["k1", "memory_anchors/k2", {"_key": "k3"}]}],
    "exists": [{"document": "k1", "check_rev": False}],
    "find": [
        {"filters": _FILTERS, "sort": [{"sort_by": "weight", "sort_order": "DESC"}], "limit": 5},
        {"after": "k1", "batch_size": 10},
    ],
    "count": [{"filters": _FILTERS}, {}],
    "aql": [
        {
            "query": "FOR a IN memory_anchors FILTER a.weight > @weight RETURN a",
            "bind_vars": {"weight": 2},
        },
        {
            "query": "FOR a IN @@c UPDATE a WITH {n: a.n + 1} IN @@c RETURN [OLD, NEW]",
            "bind_vars": {"@c": "memory_anchors"},
            "batch_size": 10,
            "count": True,
        },
    ],
    "next": [{"cursor": "0123456789abcdef", "page": 2}],
    "outcome": [{"id": "0198c5b0-0000-7000-8000-000000000000"}, {"idempotency_key": "mine"}],
    "insert": [{"document": DOCUMENT}, {"document": {}, "overwrite_mode": "update"}],
    "insert-many": [{"documents": [DOCUMENT, {"_key": "k2"}, {}], "return_new": True}],
    "update": [{"document": _CHANGE, "keep_none": False, "return_old": True}],
    "update-many": [{"documents": [_CHANGE, {"_id": "memory_anchors/k2", "n": 1}]}],
    "update-match": [{"filters": _FILTERS, "body": {"n": 1}, "limit": 10}],
    "replace": [{"document": _CHANGE, "check_rev": True}],
    "replace-many": [{"documents": [_CHANGE], "silent": True}],
    "replace-match": [{"filters": _FILTERS, "body": {"n": 1}}],
    "upsert": [{"filters": _FILTERS, "insert": DOCUMENT, "update": {"n": 1}}],
    "delete": [{"document": "k1", "ignore_missing": True}],
    "delete-many": [{"documents": ["k1", {"_key": "k2", "_rev": "_1"}], "return_old": True}],
    "delete-match": [{"filters": _FILTERS, "limit": 3}],
    "transaction": [
        {
            "steps": [
                {
                    "operation": "insert",
                    "collection": "memory_anchors",
                    "arguments": {"document": DOCUMENT},
                },
                {
                    "operation": "delete-match",
                    "collection": "fc_messages",
                    "arguments": {"filters": _FILTERS},
                },
            ]
        }
    ],
    "create-collection": [{"edge": True}],
    "drop-collection": [{"ignore_missing": True}],
    "create-index": [{"fields": ["kind", "meta.place"], "unique": True, "name": "by_kind"}],
    "drop-index": [{"index": "memory_anchors/1"}],
    "create-graph": [
        {
            "name": "web",
            "edge_definitions": [
                {
                    "edge_collection": "links",
                    "from_vertex_collections": ["memory_anchors"],
                    "to_vertex_collections": ["fc_messages"],
                }
            ],
            "orphan_collections": ["other"],
        }
    ],
    "drop-graph": [{"name": "web", "drop_collections": True}],
    "report-violation": [{"violation": "asked for the driver", "collection": "other"}],
    "redrive": [{"sequence": 1}],
}
for _name in OPERATIONS:
    BODIES.setdefault(_name, [{}])

QUERIES: Final = tuple(
    (row["query"], row["bind_vars"])
    for row in map(
        json.loads, (_TESTS / "stores" / "golden" / "aql-golden.jsonl").read_text().splitlines()
    )
)

RICH_POLICY: Final = """\
version: 4
roles:
  service:
    rules:
      - id: documents
        databases: [main]
        collections: ["fc_*", memory_anchors]
        operations: [read, insert, update]
        where:
          owner: $principal
          any: [{meta.closed: false}, {until: {">": $now, "<=": 5}}, {kind: {in: [a, b]}}]
        set: {owner: $principal, changed: $now}
        hide: [secret, meta.token]
        max_affected: 10
        grants: [DOCUMENT, ANONYMOUS_GRAPHS]
    limits: {rate_per_s: 10, burst: 5, read: {rows: 100}, write: {payload_bytes: 4096}}
principals:
  mallku: {roles: [service], issuers: ["https://issuer.test"]}
  auditor: {kind: auditor}
collections:
  memory_anchors:
    immutable: true
    audit: digest
    schema: {type: object, required: [kind], properties: {kind: {type: string, pattern: "^a+$"}}}
queries:
  heavy:
    text: FOR a IN memory_anchors FILTER a.weight > @weight RETURN a
    parameters: [weight]
    roles: [service]
revoked: [banned]
"""


@cache
def policies() -> tuple[str, ...]:
    """Policies that hold."""
    default = _ROOT / "deploy" / "mallku_deploy" / "default_policy.yaml"
    return RICH_POLICY, default.read_text()


@cache
def records() -> tuple[bytes, ...]:
    """Audit records, from the vectors."""
    cases = json.loads((_TESTS / "vectors" / "records.json").read_text())["cases"]
    return tuple(bytes.fromhex(case["message"]) for case in cases)


@cache
def replies() -> tuple[dict[str, Any], ...]:
    """Replies, from the vectors."""
    cases = json.loads((_TESTS / "vectors" / "replies.json").read_text())["cases"]
    return tuple(cases)
