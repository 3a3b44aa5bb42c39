"""The grammar's actions for FOR in all its forms, and for what stands in place of a keyword."""

from __future__ import annotations

from typing import Any, Final

from mallku_contracts.aql.build_expressions import ExpressionActions, Parts
from mallku_contracts.aql.hints import meant, one_of
from mallku_contracts.aql.lexer import Remedy, Token, refuse
from mallku_contracts.aql.tree import (
    BindParameter,
    Collection,
    CollectionBind,
    CollectionName,
    EdgeCollection,
    EdgeCollections,
    For,
    Graph,
    Literal,
    NamedGraph,
    ObjectLiteral,
    Paths,
    Position,
    Prune,
    Range,
    ShortestPath,
    Traversal,
)
from mallku_contracts.errors import NotSupported

_TRAVERSAL_VARIABLES: Final = 3
_PATH_VARIABLES: Final = 2


def expect_word(token: Token, *expected: str) -> None:
    """Refuse a name that is not one of the soft keywords that can stand there."""
    if str(token.value).upper() not in expected:
        name = str(token.value)
        remedy = Remedy(expected, one_of(expected), meant(name, *expected))
        refuse("syntax error", token.at, near=name, remedy=remedy)


def as_options(token: Token, value: object) -> ObjectLiteral:
    """The object that stands after the word OPTIONS; refuse another word, and what is none."""
    expect_word(token, "OPTIONS")
    if not isinstance(value, ObjectLiteral):
        refuse("OPTIONS have to be an object", token.at, near=str(token.value))
    return value


def unsupported(what: str, at: Position) -> NotSupported:
    """The error for a feature of the language that is not there, by its name."""
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


class LoopActions(ExpressionActions):
    """What a FOR runs over."""

    def for_plain(self, parts: Parts) -> For:
        """`FOR x IN y`."""
        return self._for(parts[0], parts[1], parts[3])

    def for_options(self, parts: Parts) -> For:
        """`FOR x IN y OPTIONS {…}`."""
        expect_word(parts[4], "OPTIONS", "SEARCH")
        if parts[4].value.upper() == "SEARCH":
            raise unsupported("SEARCH", parts[4].at)
        return self._for(parts[0], parts[1], parts[3], as_options(parts[4], parts[5]))

    def for_search(self, parts: Parts) -> For:
        """`FOR x IN y SEARCH …`: views are not there."""
        expect_word(parts[4], "SEARCH")
        raise unsupported("SEARCH", parts[4].at)

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
        given = _names(names, _TRAVERSAL_VARIABLES, "a traversal")
        vertex, edge, path = _padded(given, _TRAVERSAL_VARIABLES)
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
        expect_word(to, "TO")
        given = _names(names, _PATH_VARIABLES, "SHORTEST_PATH")
        vertex, edge = _padded(given, _PATH_VARIABLES)
        ends = start.tree(), target.tree()
        return ShortestPath(vertex, edge, steps[2], *ends, graph, options, at=token.at)

    def paths(self, parts: Parts) -> Paths:
        """`FOR p IN OUTBOUND K_SHORTEST_PATHS a TO b …`."""
        token, names, _, steps, word, start, to, target, graph, options = parts
        if word.value != "K_PATHS":
            self._no_depth(steps, word)
        expect_word(to, "TO")
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
        expect_word(word, "PRUNE", "OPTIONS")
        if word.value.upper() == "PRUNE":
            return Prune(value, at=word.at), None
        return None, as_options(word, value)

    def tail_variable(self, parts: Parts) -> tuple[Any, Any]:
        """`PRUNE v = x`."""
        expect_word(parts[0], "PRUNE")
        return Prune(parts[3], parts[1].value, at=parts[0].at), None

    def tail_two(self, parts: Parts) -> tuple[Any, Any]:
        """`PRUNE x OPTIONS {…}`."""
        expect_word(parts[0], "PRUNE")
        return Prune(parts[1], at=parts[0].at), as_options(parts[2], parts[3])

    def tail_variable_two(self, parts: Parts) -> tuple[Any, Any]:
        """`PRUNE v = x OPTIONS {…}`."""
        expect_word(parts[0], "PRUNE")
        prune = Prune(parts[3], parts[1].value, at=parts[0].at)
        return prune, as_options(parts[4], parts[5])
