"""Trees of queries that `parse` could have given, made up by hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mallku_contracts.aql import tree as t
from mallku_contracts.aql.precedence import BINARY

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
NAMES = st.sampled_from(
    ["x", "weird name", "filter", "`tick`", "back\\slash", "línea", "$d", "_u1"]
)
BINDS = st.sampled_from(["a", "1", "_b", "long_name"])
WHOLE = st.integers(0, 2**63 - 1)
REAL = st.floats(0, allow_nan=False, allow_infinity=False).map(abs)
NUMBERS = st.one_of(WHOLE, REAL).map(t.Literal)
CURRENT = t.Variable("CURRENT")
LITERALS = st.one_of(
    st.sampled_from([None, True, False]).map(t.Literal),
    NUMBERS,
    TEXTS.map(t.Literal),
    st.just(t.Literal(None, overflow=True)),
)
DECLARED = ["x", "weird name", "filter", "d"]
LEAVES = st.one_of(
    LITERALS,
    st.sampled_from(DECLARED).map(t.Variable),
    st.sampled_from(["people", "_users", "in", "a-b"]).map(t.Collection),
    BINDS.map(t.BindParameter),
    BINDS.map(t.CollectionBind),
)
COMPARISONS = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "IN", "NOT IN"])
QUANTIFIERS = st.sampled_from(["ANY", "ALL", "NONE"])


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Perhaps nothing."""
    return st.none() | strategy


def tuples(strategy: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[Any]:
    """A few of them."""
    return st.lists(strategy, min_size=least, max_size=3).map(tuple)


def members(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[t.Member]:
    """Attributes of an object: named, bound, computed and short ones."""
    short = st.sampled_from(DECLARED).map(
        lambda name: t.Member(name, t.Variable(name), shorthand=True)
    )
    computed = inner.filter(lambda node: not isinstance(getattr(node, "value", None), str))
    names = NAMES | TEXTS | computed.filter(lambda node: not isinstance(node, t.BindParameter))
    return short | st.builds(t.Member, names | BINDS.map(t.BindParameter), inner)


def expansions(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[t.Expansion]:
    """Expansions; a tail may be one too, of one level."""
    condition = inner.map(lambda node: t.Binary("==", CURRENT, node))
    tails = st.one_of(
        st.just(t.Item()),
        NAMES.map(lambda name: t.Attribute(t.Item(), name)),
        inner.map(lambda node: t.Index(t.Attribute(t.Item(), "a"), node)),
        st.builds(
            t.Expansion,
            st.just(t.Attribute(t.Item(), "b")),
            st.just(1),
            st.just(t.Attribute(t.Item(), "c")),
            maybe(condition),
        ),
        condition.map(lambda node: t.ArrayMatch(t.Item(), condition=node)),
    )
    return st.builds(
        lambda subject, levels, tail, found, limit, projection: t.Expansion(
            subject, levels, tail, found, limit[0], limit[1], projection
        ),
        inner,
        st.integers(1, 3),
        tails,
        maybe(condition),
        st.just((None, None)) | st.tuples(maybe(inner), inner),
        maybe(inner),
    )


def matches(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[t.ArrayMatch]:
    """The four forms of `[? … FILTER …]`, and `[?]`."""
    return st.one_of(
        st.builds(t.ArrayMatch, inner),
        st.builds(t.ArrayMatch, inner, st.none(), maybe(inner), inner),
        st.builds(t.ArrayMatch, inner, QUANTIFIERS, st.none(), inner),
        st.builds(t.ArrayMatch, inner, st.just("AT LEAST"), inner, inner),
    )


def subqueries(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[t.Subquery]:
    """Subqueries with a loop of their own variable."""
    name = st.integers(0, 2**40).map(lambda number: f"s{number}")
    return st.builds(
        lambda name, source, condition, value, distinct: t.Subquery(
            (t.For(name, source), t.Filter(condition), t.Return(value, distinct))
        ),
        name,
        inner,
        inner,
        inner,
        st.booleans(),
    ) | st.builds(lambda value: t.Subquery((t.Return(value),)), inner)


def grow(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One level more of every expression."""
    operators = st.sampled_from([*(each for each in BINARY if each != ".."), "NOT LIKE"])
    return st.one_of(
        tuples(inner).map(t.ArrayLiteral),
        tuples(members(inner)).map(t.ObjectLiteral),
        st.builds(t.Attribute, inner, NAMES | BINDS.map(t.BindParameter), st.booleans()),
        st.builds(t.Index, inner, inner, st.booleans()),
        st.builds(t.Unary, st.sampled_from(["!", "-", "+"]), inner),
        st.builds(t.Binary, operators, inner, inner),
        st.builds(t.Quantified, QUANTIFIERS, COMPARISONS, inner, inner),
        st.builds(t.Quantified, st.just("AT LEAST"), COMPARISONS, inner, inner, inner),
        st.builds(t.Range, inner, inner),
        st.builds(t.Ternary, inner, maybe(inner), inner),
        st.builds(t.Call, st.sampled_from(["CONCAT", "MERGE", "A::LIKE::B"]), tuples(inner, 1)),
        st.builds(t.Call, st.just("LIKE"), st.tuples(inner, inner)),
        expansions(inner),
        matches(inner),
        subqueries(inner),
    )


EXPRESSIONS = st.recursive(LEAVES, grow, max_leaves=12)
OPTIONS = maybe(
    st.builds(
        lambda name, value: t.ObjectLiteral((t.Member(name, value),)),
        NAMES,
        LITERALS | BINDS.map(t.BindParameter),
    )
)
TARGETS = st.sampled_from(["scratch", "filter"]).map(t.Collection) | BINDS.map(t.CollectionBind)
DIRECTIONS = st.sampled_from(["OUTBOUND", "INBOUND", "ANY"])
EDGES = st.builds(
    t.EdgeCollection,
    TARGETS | BINDS.map(lambda name: t.CollectionBind(name, plain=True)),
    maybe(DIRECTIONS),
)
GRAPHS = st.one_of(
    TEXTS.map(lambda name: t.NamedGraph(t.Literal(name))),
    BINDS.map(lambda name: t.NamedGraph(t.BindParameter(name))),
    tuples(EDGES, 1).map(t.EdgeCollections),
)
NO_RANGE = EXPRESSIONS.filter(lambda node: not isinstance(node, t.Range))
DEPTHS = st.one_of(
    st.just((None, None)),
    st.tuples(NO_RANGE, st.none()),
    st.tuples(EXPRESSIONS, EXPRESSIONS),
)
NO_SUBQUERY = st.builds(
    t.Binary, st.sampled_from(["==", "AND"]), LEAVES, st.builds(t.Attribute, LEAVES, NAMES)
)
SIMPLE = NUMBERS | BINDS.map(t.BindParameter)
AGGREGATES = st.builds(lambda value: t.Aggregate("agg", t.Call("SUM", (value,))), EXPRESSIONS)

LOOPS = st.one_of(
    st.builds(t.For, st.just("y"), EXPRESSIONS, OPTIONS),
    st.builds(
        lambda names, depth, direction, start, graph, prune, options: t.Traversal(
            names[0],
            names[1],
            names[2],
            depth[0],
            depth[1],
            direction,
            start,
            graph,
            prune,
            options,
        ),
        st.sampled_from([("y", None, None), ("y", "e", None), ("y", "e", "p")]),
        DEPTHS,
        DIRECTIONS,
        EXPRESSIONS,
        GRAPHS,
        maybe(st.builds(t.Prune, NO_SUBQUERY, maybe(st.just("pruned")))),
        OPTIONS,
    ),
    st.builds(
        t.ShortestPath,
        st.just("y"),
        maybe(st.just("e")),
        DIRECTIONS,
        EXPRESSIONS,
        EXPRESSIONS,
        GRAPHS,
        OPTIONS,
    ),
    st.builds(
        lambda depth, direction, start, target, graph: t.Paths(
            "K_PATHS", "y", depth[0], depth[1], direction, start, target, graph
        ),
        DEPTHS,
        DIRECTIONS,
        EXPRESSIONS,
        EXPRESSIONS,
        GRAPHS,
    ),
)
COLLECTS = st.one_of(
    st.builds(lambda options: t.Collect((), count="n", options=options), OPTIONS),
    st.builds(
        lambda value, into, projection, keep, options: t.Collect(
            (t.Group("g", value),), (), into, projection, keep if into else None, options=options
        ),
        EXPRESSIONS,
        maybe(st.just("members")),
        st.none(),
        maybe(st.just(("y", "x"))),
        OPTIONS,
    ),
    st.builds(
        lambda value, projection, aggregate: t.Collect(
            (t.Group("g", value),), (aggregate,), "members", projection
        ),
        EXPRESSIONS,
        maybe(EXPRESSIONS),
        AGGREGATES,
    ),
)
BOUNDS = st.just(t.ObjectLiteral((t.Member("preceding", t.Literal(1)),)))
MIDDLES = st.one_of(
    EXPRESSIONS.map(t.Filter),
    tuples(
        st.builds(
            t.SortKey,
            EXPRESSIONS,
            st.sampled_from(["ASC", "DESC"]) | LITERALS | BINDS.map(t.BindParameter),
        ),
        1,
    ).map(t.Sort),
    st.builds(t.Limit, maybe(SIMPLE), SIMPLE),
    st.builds(t.Let, st.just("z"), EXPRESSIONS),
    st.builds(t.Window, maybe(EXPRESSIONS), BOUNDS, AGGREGATES.map(lambda each: (each,))),
    COLLECTS,
)
OBJECTS = tuples(members(EXPRESSIONS)).map(t.ObjectLiteral) | BINDS.map(t.BindParameter)
FINALS = st.one_of(
    st.builds(t.Return, EXPRESSIONS, st.booleans()),
    st.builds(t.Insert, EXPRESSIONS, TARGETS, OPTIONS),
    st.builds(t.Update, maybe(EXPRESSIONS), EXPRESSIONS, TARGETS, OPTIONS),
    st.builds(t.Replace, maybe(EXPRESSIONS), EXPRESSIONS, TARGETS, OPTIONS),
    st.builds(t.Remove, EXPRESSIONS, TARGETS, OPTIONS),
    st.builds(t.Upsert, OBJECTS, EXPRESSIONS, EXPRESSIONS, st.booleans(), TARGETS, OPTIONS),
)


def _query(loop: Any, middle: Any, final: Any, collections: Any) -> t.Query:
    declared = [t.Let(name, t.Literal(1)) for name in DECLARED]
    return t.Query((*declared, loop, middle, final), collections)


QUERIES = st.builds(_query, LOOPS, MIDDLES, FINALS, tuples(TARGETS))
"""Queries that declare what their expressions use: a loop, one statement more, and an end."""
