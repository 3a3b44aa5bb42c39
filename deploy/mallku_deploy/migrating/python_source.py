"""Looks through the syntax tree of one Python file."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Final, NamedTuple

from mallku_deploy.migrating import faces
from mallku_deploy.migrating.rules import Finding
from mallku_deploy.migrating.syntax import (
    Seen,
    assigned,
    constant,
    docstrings,
    dotted,
    last_name,
    scopes,
    within,
)

DRIVERS: Final = frozenset({"arango", "arangoasync", "aioarango", "pyArango", "arango_orm"})
"""Top packages of the drivers that speak to the database."""

CLIENTS: Final = frozenset({"ArangoClient", "Connection"})
"""What those drivers open a connection with."""

QUERY_METHODS: Final = frozenset({"execute", "aql_query", "execute_secured_query"})
"""Methods whose first argument is the text of a query."""

DIRECT_OPERATIONS: Final = frozenset(
    {
        *("insert", "insert_many", "get", "update", "update_many", "replace", "replace_many"),
        *("delete", "delete_many", "truncate", "all", "find", "count", "exists", "has"),
    }
)
"""What a collection that requires security refuses on attribute access."""

SECURED_SUFFIX: Final = "_secured"
"""How the names of collections end that take secured models only."""

ADDRESS = re.compile(r":8529\b")
_HTTP = re.compile(r"/_(?:api|db|admin)/|^_api/")
CREDENTIAL = re.compile(
    r"\b(?:ARANGO_(?:HOST|DB|USER|PASSWORD|ROOT_PASSWORD)|MALLKU_DB_(?:HOST|PORT|NAME|USER|PASSWORD))\b"
)
_AQL = re.compile(r"\b(?:FOR\s+\w+\s+IN|INSERT|UPDATE|REPLACE|REMOVE|UPSERT|RETURN)\b")


class _Place(NamedTuple):
    line: int
    column: int


def find_in_python(source: str, path: str) -> list[Finding]:
    """Every place of a Python file where a rule applies, in the order of the text.

    A file that Python cannot parse is one finding, `MG001`: nothing is passed over in silence.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs, of their code: not ours to report
            tree = ast.parse(source, path)
    except (SyntaxError, ValueError, RecursionError) as error:
        place = _Place(getattr(error, "lineno", None) or 1, getattr(error, "offset", None) or 1)
        return [Finding(path, *place, "MG001", f"not Python: {error}")]
    lines = source.splitlines()
    seen = chain.from_iterable(look(tree) for look in _LOOKS)
    return sorted({Finding(path, *_place(node, lines), code, what) for node, code, what in seen})


def _place(node: ast.AST, lines: list[str]) -> _Place:
    line, offset = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
    text = lines[line - 1] if line <= len(lines) else ""
    return _Place(line, len(text.encode()[:offset].decode(errors="replace")) + 1)


def _imports(tree: ast.AST) -> Iterator[Seen]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        elif isinstance(node, ast.Call) and last_name(node.func) in {
            "import_module",
            "__import__",
        }:
            names = [text for text in map(constant, node.args[:1]) if text]
        else:
            continue
        for name in names:
            if name.partition(".")[0] in DRIVERS:
                yield node, "MG101", f"import of {name}"


def _clients(tree: ast.AST) -> Iterator[Seen]:
    bound = _names_of_drivers(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            whole = dotted(node.func)
            first, _, rest = whole.partition(".")
            name = ".".join(filter(None, (bound.get(first), rest)))
            if name.partition(".")[0] in DRIVERS and name.rpartition(".")[2] in CLIENTS:
                yield node, "MG102", f"{whole}(…)"


def _names_of_drivers(tree: ast.AST) -> Mapping[str, str]:
    bound = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                bound[alias.asname or name] = name
        elif isinstance(node, ast.ImportFrom) and not node.level:
            bound |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return bound


def _strings(tree: ast.AST) -> Iterator[Seen]:
    """Parts of an f-string are found at its beginning; only since Python 3.12 they have places."""
    prose, wholes = docstrings(tree), _wholes(tree)
    for node in ast.walk(tree):
        text = constant(node)
        if text is None or node in prose:
            continue
        if ADDRESS.search(text):
            yield wholes.get(node, node), "MG103", "port 8529"
        if found := _HTTP.search(text):
            yield wholes.get(node, node), "MG104", f"{found[0]}…"


def _wholes(tree: ast.AST) -> Mapping[ast.AST, ast.AST]:
    formatted = (node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr))
    return {part: node for node in formatted for part in node.values}


def _environment(tree: ast.AST) -> Iterator[Seen]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and last_name(node.value) == "environ":
            name = constant(node.slice)
        elif isinstance(node, ast.Call) and node.args and _reads_environment(node.func):
            name = constant(node.args[0])
        else:
            continue
        if name and CREDENTIAL.fullmatch(name):
            yield node, "MG105", name


def _reads_environment(function: ast.expr) -> bool:
    return last_name(function) == "getenv" or (
        isinstance(function, ast.Attribute)
        and function.attr in {"get", "pop", "setdefault"}
        and last_name(function.value) == "environ"
    )


def _inner_database(tree: ast.AST) -> Iterator[Seen]:
    """`db._database`; a service's own `self._database` is its own affair."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "_database":
            owner = node.value
            if not (isinstance(owner, ast.Name) and owner.id in {"self", "cls"}):
                yield node, "MG106", f"{dotted(node) or '…._database'}"


def _queries(tree: ast.AST) -> Iterator[Seen]:
    for scope in scopes(tree):
        texts = {name: value for name, value in assigned(scope) if _is_assembled_query(value)}
        for node in within(scope):
            if isinstance(node, ast.Call) and last_name(node.func) in QUERY_METHODS:
                text = _query_argument(node)
                if isinstance(text, ast.Name):
                    text = texts.get(text.id)
                if text is not None and _is_assembled_query(text):
                    yield text, "MG107", f"for {last_name(node.func)}()"


def _query_argument(call: ast.Call) -> ast.expr | None:
    if call.args:
        return call.args[0]
    return next((word.value for word in call.keywords if word.arg == "query"), None)


def _is_assembled_query(node: ast.expr) -> bool:
    """Whether a text of AQL is put together from something that is not in the source."""
    parts = list(ast.walk(node))
    text = " ".join(filter(None, map(constant, parts)))
    return bool(_AQL.search(text)) and _is_assembled(node)


def _is_assembled(node: ast.expr) -> bool:
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add):
        sides = (node.left, node.right)
        return any(constant(side) is None and not _is_constant(side) for side in sides)
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"format", "join", "replace"}
    )


def _is_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and not _is_assembled(node)


def _secured(tree: ast.AST) -> Iterator[Seen]:
    for scope in scopes(tree):
        names = {name for name, value in assigned(scope) if _secured_collection(value)}
        for node in within(scope):
            if isinstance(node, ast.Attribute) and node.attr in DIRECT_OPERATIONS:
                owner = node.value
                named = isinstance(owner, ast.Name) and owner.id in names
                if named or _secured_collection(owner):
                    yield node, "MG108", f".{node.attr}"


def _secured_collection(node: ast.expr) -> str | None:
    """The name in `….collection("…_secured")`, awaited or not."""
    if isinstance(node, ast.Await):
        node = node.value
    if not (isinstance(node, ast.Call) and node.args):
        return None
    if last_name(node.func) not in {"collection", "get_collection", "get_secured_collection"}:
        return None
    name = constant(node.args[0])
    return name if name and name.endswith(SECURED_SUFFIX) else None


_LOOKS: Final[tuple[Callable[[ast.AST], Iterator[Seen]], ...]] = (
    *(_imports, _clients, _strings, _environment),
    *(_inner_database, _queries, _secured),
    *(faces.awaited_nothing, faces.exactly_true),
)
