"""Queries as Mallku's code writes them."""

import logging

from mallku_client.mallku import get_database

logger = logging.getLogger(__name__)

QUERIES = {
    "newest": "FOR a IN @@c SORT a.timestamp DESC LIMIT 3 RETURN a.text",
    "page": "FOR a IN @@c SORT a.strength DESC, a._key LIMIT @offset, @limit RETURN a._key",
    "either": "FOR a IN @@c FILTER a.kind == @kind OR a.strength > 0.9 RETURN a._key",
    "listed": "FOR a IN @@c FILTER a.kind IN @kinds AND a.missing == null RETURN a._key",
    "words": "FOR a IN @@c FILTER CONTAINS(LOWER(a.text), LOWER(@word)) RETURN a.text",
    "counted": "FOR a IN @@c COLLECT kind = a.kind WITH COUNT INTO n RETURN {kind, n}",
    "summed": (
        "FOR a IN @@c COLLECT AGGREGATE total = SUM(a.strength), n = COUNT(a),"
        " mean = AVG(a.strength) RETURN {n, mean: total / n == mean ? 'same' : 'other'}"
    ),
    "inner": "LET them = (FOR a IN @@c RETURN a.strength) RETURN LENGTH(them)",
    "first": "RETURN (FOR a IN @@c SORT a._key RETURN a._key)[0]",
    "tagged": "FOR a IN @@c FILTER @tags ALL IN a.tags RETURN a._key",
    "joined": (
        "FOR a IN @@c FOR b IN @@c FILTER a.kind == b.kind AND a._key < b._key"
        " RETURN CONCAT(a._key, ':', b._key)"
    ),
    "dated": "FOR a IN @@c LIMIT 1 RETURN DATE_ISO8601(1700000000000.5)",
    "texts": "FOR a IN @@c RETURN DISTINCT TO_STRING(a.kind)",
}
VALUES = {
    "page": {"offset": 0, "limit": 2},
    "either": {"kind": "khipu"},
    "listed": {"kinds": ["khipu", "fire_circle"]},
    "words": {"word": "MOUNTAIN"},
    "tagged": {"tags": ["a"]},
}


def ask(name: str) -> list:
    """The rows of one query; a plain function, which may be called while a loop runs."""
    bind_vars = {"@c": "memory_anchors", **VALUES.get(name, {})}
    return list(get_database().aql.execute(QUERIES[name], bind_vars=bind_vars))


def search(words: str) -> list:
    """A text that was made of somebody's words, as three places of Mallku do.

    What gets injected there meets the worker: the policy is asked about the query as it is.
    """
    query = f'FOR a IN memory_anchors FILTER CONTAINS(a.text, "{words}") RETURN a.text'
    try:
        return list(get_database().aql.execute(query))
    except Exception:  # as Mallku's callers do
        logger.exception("not searched")
        return []
