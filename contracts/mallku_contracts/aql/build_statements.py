"""The grammar's actions for statements, and the soft keywords that only their place makes one."""

from __future__ import annotations

from typing import Any

from mallku_contracts.aql.build_expressions import ExpressionActions, Parts
from mallku_contracts.aql.lexer import Token, refuse
from mallku_contracts.aql.tree import (
    Aggregate,
    BindParameter,
    Call,
    Collect,
    Collection,
    CollectionBind,
    CollectionName,
    EdgeCollection,
    EdgeCollections,
    Filter,
    For,
    Graph,
    Group,
    Insert,
    Let,
    Limit,
    Literal,
    NamedGraph,
    ObjectLiteral,
    Paths,
    Position,
    Prune,
    Query,
    Range,
    Remove,
    Replace,
    Return,
    ShortestPath,
    Sort,
    SortKey,
    Traversal,
    Update,
    Upsert,
    Window,
)
from mallku_contracts.errors import NotSupported

BIND_TYPE = 1553
AGGREGATE = 1574
MAX_TRAVERSAL_VARIABLES = 3
MAX_PATH_VARIABLES = 2


def _word(token: Token, *expected: str) -> None:
    """Refuse a name that is not one of the soft keywords that can stand there."""
    if str(token.value).upper() not in expected:
        what = f"unexpected name {token.value!r}"
        refuse(what, token.at, near=str(token.value), expected=expected)


def _options(token: Token, value: object) -> ObjectLiteral:
    _word(token, "OPTIONS")
    if not isinstance(value, ObjectLiteral):
        refuse("OPTIONS have to be an object", token.at, near=str(token.value))
    return value


def _unsupported(what: str, at: Position) -> NotSupported:
    return NotSupported(
        f"{what} is not supported, at line {at.line}, column {at.column}",
        details={"feature": what, "line": at.line, "column": at.column},
    )


def _names(tokens: list[Token], most: int, what: str) -> list[str]:
    if len(tokens) > most:
        refuse(
            f"{what} has at most {most} variables", tokens[most].at, near=str(tokens[most].value)
        )
    return [str(token.value) for token in tokens]


def _padded(names: list[str], length: int) -> list[Any]:
    return [*names, *[None] * (length - len(names))]


class StatementActions(ExpressionActions):
    """The actions of the whole grammar."""

    def query(self, parts: Parts) -> Query:
        """A query without WITH."""
        return Query(tuple(parts[0]), at=parts[0][0].at)

    def query_with(self, parts: Parts) -> Query:
        """`WITH a, b …`."""
        return Query(tuple(parts[2]), tuple(parts[1]), at=parts[0].at)

    def more(self, parts: Parts) -> list[Any]:
        """One more of a list, without a comma."""
        listed: list[Any] = parts[0]
        listed.append(parts[1])
        return listed

    def more_steps(self, parts: Parts) -> list[Any]:
        """One more statement; a LET may be several."""
        before, step = parts
        steps: list[Any] = [] if before is None else before
        steps.extend(step) if type(step) is list else steps.append(step)
        return steps

    # --- FOR ---

    def for_plain(self, parts: Parts) -> For:
        """`FOR x IN y`."""
        return self._for(parts[0], parts[1], parts[3])

    def for_options(self, parts: Parts) -> For:
        """`FOR x IN y OPTIONS {…}`."""
        _word(parts[4], "OPTIONS", "SEARCH")
        if parts[4].value.upper() == "SEARCH":
            raise _unsupported("SEARCH", parts[4].at)
        return self._for(parts[0], parts[1], parts[3], _options(parts[4], parts[5]))

    def for_search(self, parts: Parts) -> For:
        """`FOR x IN y SEARCH …`: views are not there."""
        _word(parts[4], "SEARCH")
        raise _unsupported("SEARCH", parts[4].at)

    def _for(self, token: Token, names: Any, source: Any, options: Any = None) -> For:
        (name,) = _names(names, 1, "a FOR over a collection or an array")
        return For(name, source, options, at=token.at)

    def steps_one(self, parts: Parts) -> tuple[Any, Any, Any]:
        """`OUTBOUND`."""
        return None, None, parts[0]

    def steps_many(self, parts: Parts) -> tuple[Any, Any, Any]:
        """`1..3 OUTBOUND`."""
        depth = parts[0].tree()
        if isinstance(depth, Range):
            return depth.low, depth.high, parts[1]
        return depth, None, parts[1]

    def direction(self, parts: Parts) -> str:
        """`OUTBOUND`, `INBOUND`, `ANY`."""
        return str(parts[0].value)

    def traversal(self, parts: Parts) -> Traversal:
        """`FOR v, e, p IN 1..3 OUTBOUND start …`."""
        token, names, _, (minimum, maximum, direction), start, graph, tail = parts
        given = _names(names, MAX_TRAVERSAL_VARIABLES, "a traversal")
        vertex, edge, path = _padded(given, MAX_TRAVERSAL_VARIABLES)
        prune, options = tail or (None, None)
        return Traversal(
            vertex,
            edge,
            path,
            minimum,
            maximum,
            direction,
            start.tree(),
            graph,
            prune,
            options,
            at=token.at,
        )

    def shortest_path(self, parts: Parts) -> ShortestPath:
        """`FOR v, e IN OUTBOUND SHORTEST_PATH a TO b …`."""
        token, names, _, steps, word, start, to, target, graph, options = parts
        self._no_depth(steps, word)
        _word(to, "TO")
        given = _names(names, MAX_PATH_VARIABLES, "SHORTEST_PATH")
        vertex, edge = _padded(given, MAX_PATH_VARIABLES)
        ends = start.tree(), target.tree()
        return ShortestPath(vertex, edge, steps[2], *ends, graph, options, at=token.at)

    def paths(self, parts: Parts) -> Paths:
        """`FOR p IN OUTBOUND K_SHORTEST_PATHS a TO b …`."""
        token, names, _, steps, word, start, to, target, graph, options = parts
        if word.value != "K_PATHS":
            self._no_depth(steps, word)
        _word(to, "TO")
        (path,) = _names(names, 1, word.value)
        ends = start.tree(), target.tree()
        minimum, maximum, direction = steps
        return Paths(
            word.value, path, minimum, maximum, direction, *ends, graph, options, at=token.at
        )

    def _no_depth(self, steps: tuple[Any, Any, Any], word: Token) -> None:
        if steps[0] is not None:
            refuse(f"{word.value} takes no depth", word.at, near=str(word.value))

    def graph_named(self, parts: Parts) -> Graph:
        """`GRAPH "social"`, `GRAPH social`."""
        token = parts[1]
        return NamedGraph(Literal(token.value, at=token.at), at=parts[0].at)

    def graph_bound(self, parts: Parts) -> Graph:
        """`GRAPH @name`."""
        token = parts[1]
        return NamedGraph(BindParameter(token.value, at=token.at), at=parts[0].at)

    def graph_edges(self, parts: Parts) -> Graph:
        """`knows, INBOUND follows`."""
        return EdgeCollections(tuple(parts[0]), at=parts[0][0].at)

    def edge(self, parts: Parts) -> EdgeCollection:
        """`knows`."""
        return EdgeCollection(parts[0], at=parts[0].at)

    def edge_directed(self, parts: Parts) -> EdgeCollection:
        """`INBOUND knows`."""
        return EdgeCollection(parts[1], parts[0], at=parts[1].at)

    def collection(self, parts: Parts) -> CollectionName:
        """A collection's name where nothing else can stand."""
        return Collection(parts[0].value, at=parts[0].at)

    def plain_collection_bind(self, parts: Parts) -> CollectionName:
        """`@edges` where only a collection can stand."""
        return CollectionBind(parts[0].value, plain=True, at=parts[0].at)

    def tail_one(self, parts: Parts) -> tuple[Any, Any]:
        """`PRUNE x`, or `OPTIONS {…}`."""
        word, value = parts
        _word(word, "PRUNE", "OPTIONS")
        if word.value.upper() == "PRUNE":
            return Prune(value, at=word.at), None
        return None, _options(word, value)

    def tail_variable(self, parts: Parts) -> tuple[Any, Any]:
        """`PRUNE v = x`."""
        _word(parts[0], "PRUNE")
        return Prune(parts[3], parts[1].value, at=parts[0].at), None

    def tail_two(self, parts: Parts) -> tuple[Any, Any]:
        """`PRUNE x OPTIONS {…}`."""
        _word(parts[0], "PRUNE")
        return Prune(parts[1], at=parts[0].at), _options(parts[2], parts[3])

    def tail_variable_two(self, parts: Parts) -> tuple[Any, Any]:
        """`PRUNE v = x OPTIONS {…}`."""
        _word(parts[0], "PRUNE")
        prune = Prune(parts[3], parts[1].value, at=parts[0].at)
        return prune, _options(parts[4], parts[5])

    # --- the other reading statements ---

    def filter(self, parts: Parts) -> Filter:
        """`FILTER x`."""
        return Filter(parts[1], at=parts[0].at)

    def sort(self, parts: Parts) -> Sort:
        """`SORT a, b`."""
        return Sort(tuple(parts[1]), at=parts[0].at)

    def sort_plain(self, parts: Parts) -> SortKey:
        """`a`."""
        return SortKey(parts[0], at=parts[0].at)

    def sort_directed(self, parts: Parts) -> SortKey:
        """`a DESC`."""
        return SortKey(parts[0], parts[1].value, at=parts[0].at)

    def sort_valued(self, parts: Parts) -> SortKey:
        """`a @direction`."""
        return SortKey(parts[0], parts[1], at=parts[0].at)

    def limit_one(self, parts: Parts) -> Limit:
        """`LIMIT 5`."""
        return Limit(None, parts[1], at=parts[0].at)

    def limit_two(self, parts: Parts) -> Limit:
        """`LIMIT 10, 5`."""
        return Limit(parts[1], parts[3], at=parts[0].at)

    def assignment(self, parts: Parts) -> Let:
        """`a = x`."""
        return Let(parts[0].value, parts[2], at=parts[0].at)

    def let(self, parts: Parts) -> list[Let]:
        """`LET a = x, b = y`."""
        lets: list[Let] = parts[1]
        return lets

    # --- COLLECT and WINDOW ---

    def collect_all_count(self, parts: Parts) -> Collect:
        """`COLLECT WITH COUNT INTO n`."""
        _word(parts[2], "COUNT")
        return Collect((), count=parts[4].value, options=parts[5], at=parts[0].at)

    def collect_count(self, parts: Parts) -> Collect:
        """`COLLECT a = x WITH COUNT INTO n`."""
        _word(parts[3], "COUNT")
        groups = self._groups(parts[1])
        return Collect(groups, count=parts[5].value, options=parts[6], at=parts[0].at)

    def collect_all_aggregate(self, parts: Parts) -> Collect:
        """`COLLECT AGGREGATE a = SUM(x)`."""
        token, aggregates, into, options = parts
        name, projection = into or (None, None)
        return Collect((), aggregates, name, projection, options=options, at=token.at)

    def collect_aggregate(self, parts: Parts) -> Collect:
        """`COLLECT a = x AGGREGATE b = SUM(y)`."""
        token, groups, aggregates, into, options = parts
        name, projection = into or (None, None)
        return Collect(
            self._groups(groups), aggregates, name, projection, options=options, at=token.at
        )

    def collect_groups(self, parts: Parts) -> Collect:
        """`COLLECT a = x INTO g KEEP v`."""
        token, groups, into, kept = parts
        name, projection = into or (None, None)
        keep, options = kept or (None, None)
        return Collect(
            self._groups(groups), (), name, projection, keep, options=options, at=token.at
        )

    def _groups(self, lets: list[Let]) -> tuple[Group, ...]:
        return tuple(Group(let.variable, let.value, at=let.at) for let in lets)

    def into_all(self, parts: Parts) -> tuple[Any, Any]:
        """`INTO g`."""
        return parts[1].value, None

    def into_value(self, parts: Parts) -> tuple[Any, Any]:
        """`INTO g = x`."""
        return parts[1].value, parts[3]

    def kept_options(self, parts: Parts) -> tuple[Any, Any]:
        """`OPTIONS {…}`."""
        return None, _options(parts[0], parts[1])

    def kept_names(self, parts: Parts) -> tuple[Any, Any]:
        """`KEEP a, b`, perhaps with OPTIONS."""
        _word(parts[0], "KEEP", "OPTIONS")
        if parts[0].value.upper() == "OPTIONS":
            refuse("OPTIONS have to be an object", parts[0].at, near=str(parts[0].value))
        keep = tuple(str(token.value) for token in parts[1])
        return keep, _options(parts[2], parts[3]) if len(parts) > len(("KEEP", "names")) else None

    def aggregate(self, parts: Parts) -> tuple[Aggregate, ...]:
        """`AGGREGATE a = SUM(x)`."""
        return tuple(parts[1])

    def aggregate_one(self, parts: Parts) -> Aggregate:
        """`a = SUM(x)`."""
        if type(parts[2]) is not Call:
            what = "an aggregate expression must be a function call"
            refuse(what, parts[2].at, number=AGGREGATE)
        return Aggregate(parts[0].value, parts[2], at=parts[0].at)

    def window_rows(self, parts: Parts) -> Window:
        """`WINDOW {preceding: 1} AGGREGATE …`."""
        return Window(None, parts[1], parts[2], at=parts[0].at)

    def window_range(self, parts: Parts) -> Window:
        """`WINDOW x WITH {preceding: 1} AGGREGATE …`."""
        return Window(parts[1].tree(), parts[3], parts[4], at=parts[0].at)

    def return_all(self, parts: Parts) -> Return:
        """`RETURN x`."""
        return Return(parts[1], at=parts[0].at)

    def return_distinct(self, parts: Parts) -> Return:
        """`RETURN DISTINCT x`."""
        return Return(parts[2], distinct=True, at=parts[0].at)

    # --- writing ---

    def insert(self, parts: Parts) -> Insert:
        """`INSERT d INTO c`."""
        token, document, target, options = parts
        return Insert(document.tree(), target, options, at=token.at)

    def remove(self, parts: Parts) -> Remove:
        """`REMOVE k IN c`."""
        token, key, target, options = parts
        return Remove(key.tree(), target, options, at=token.at)

    def change(self, parts: Parts) -> Update | Replace:
        """`UPDATE d IN c`."""
        token, document, target, options = parts
        kind = Update if token.type == "UPDATE" else Replace
        return kind(None, document.tree(), target, options, at=token.at)

    def change_with(self, parts: Parts) -> Update | Replace:
        """`UPDATE k WITH d IN c`."""
        token, key, _, document, target, options = parts
        kind = Update if token.type == "UPDATE" else Replace
        return kind(key.tree(), document.tree(), target, options, at=token.at)

    def upsert(self, parts: Parts) -> Upsert:
        """`UPSERT s INSERT d UPDATE p IN c`."""
        token, search, _, insert, word, change, target, options = parts
        found = search.tree()
        if not isinstance(found, ObjectLiteral | BindParameter):
            refuse("UPSERT searches by an object", found.at, expected=("{", "bind parameter"))
        replaces = word.type == "REPLACE"
        nodes = found, insert.tree(), change.tree()
        return Upsert(*nodes, replaces, target, options, at=token.at)

    def upsert_filter(self, parts: Parts) -> Upsert:
        """`UPSERT FILTER x INSERT …`: of 3.12, and not here."""
        raise _unsupported("UPSERT FILTER", parts[1].at)

    def target_named(self, parts: Parts) -> CollectionName:
        """`INTO c`, `IN "c"`."""
        return Collection(parts[1].value, at=parts[1].at)

    def target_bound(self, parts: Parts) -> CollectionName:
        """`INTO @@c`."""
        return CollectionBind(parts[1].value, at=parts[1].at)

    def target_value(self, parts: Parts) -> CollectionName:
        """`INTO @c`: a value is no collection."""
        token: Token = parts[1]
        what = f"a collection's bind parameter begins with @@, not @{token.value}"
        refuse(what, token.at, number=BIND_TYPE, near=f"@{token.value}")

    def options(self, parts: Parts) -> ObjectLiteral:
        """`OPTIONS {…}`."""
        return _options(parts[0], parts[1])
