"""The words of a query: one regular expression, and what each match means.

Word classes follow `arangod/Aql/tokens.ll`: a keyword is one wherever it stands (an attribute of
that name needs backticks), while OPTIONS, PRUNE, KEEP, COUNT, TO and SEARCH are ordinary names that
the grammar recognises by their place.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final, NamedTuple, NoReturn

from mallku_contracts.aql.tree import Position
from mallku_contracts.errors import InvalidQuery
from mallku_contracts.limits import KIB

MAX_QUERY_CHARS: Final = 64 * KIB
"""The text of one query, characters; values belong into bind parameters."""

MAX_QUERY_TOKENS: Final = 4_096
"""Words and signs of one query, and so of any list in it."""

MAX_NESTING: Final = 50
"""Brackets inside brackets, levels; beyond it 1524, as ArangoDB's beyond 500. With `MAX_TREE_DEPTH`
it keeps what recurses over a tree, a dozen frames for a level, within Python's own stack."""

MAX_NEAR_CHARS: Final = 32
"""How much of the offending text an error shows, characters."""

SYNTAX: Final = 1501
TOO_DEEP: Final = 1524
_INT64_MAX: Final = 2**63 - 1
_INT64_DIGITS: Final = 19

_TOKEN: Final = re.compile(
    r"""(?P<SKIP>[ \t\r\n]+|//[^\n]*|/\*(?:[^*]++|\*(?!/))*+(?:\*/|\Z))
    |(?P<NOT_IN>[nN][oO][tT][ \t\r\n]+[iI][nN]\b)
    |(?P<AT_LEAST>[aA][tT][ \t\r\n]+[lL][eE][aA][sS][tT]\b)
    |(?P<NAME>\$?[a-zA-Z][_a-zA-Z0-9]*|_+[a-zA-Z][_a-zA-Z0-9]*)
    |(?P<BASED>0[xX][0-9a-fA-F]+|0[bB][01]+)
    |(?P<REAL>(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+))
    |(?P<WHOLE>0|[1-9][0-9]*)
    |(?P<QUOTED>"(?:[^"\\]++|\\.)*+"|'(?:[^'\\]++|\\.)*+')
    |(?P<TICKED>`(?:[^`\\]++|\\.)*+`|\xb4(?:[^\xb4\\]++|\\.)*+\xb4)
    |(?P<BIND>@@?(?:_+[a-zA-Z0-9]+[a-zA-Z0-9_]*|[a-zA-Z0-9][a-zA-Z0-9_]*))
    |(?P<SIGN>[=!]~|[=!<>]=|&&|\|\||::|\.\.|\?\.|[][(){},:.?*/%+<>=!-])""",
    re.VERBOSE | re.DOTALL,
)

_SIGNS: Final = {
    **{sign: ("COMPARISON", sign) for sign in ("==", "!=", "<", "<=", ">", ">=")},
    **{sign: ("REGEX", sign) for sign in ("=~", "!~")},
    **{sign: ("OPERATOR", sign) for sign in ("/", "%", "..")},
    **{sign: ("PLUS_MINUS", sign) for sign in ("+", "-")},
    "&&": ("OPERATOR", "AND"),
    "||": ("OPERATOR", "OR"),
    "!": ("NOT", "!"),
    "*": ("STAR", "*"),
    "(": ("LPAR", "("),
    ")": ("RPAR", ")"),
    "[": ("LSQB", "["),
    "]": ("RSQB", "]"),
    "{": ("LBRACE", "{"),
    "}": ("RBRACE", "}"),
    ",": ("COMMA", ","),
    ".": ("DOT", "."),
    "?.": ("QDOT", "?."),
    "?": ("QUESTION", "?"),
    ":": ("COLON", ":"),
    "::": ("SCOPE", "::"),
    "=": ("ASSIGN", "="),
}

_STATEMENT_WORDS: Final = [
    "FOR",
    "LET",
    "FILTER",
    "RETURN",
    "COLLECT",
    "SORT",
    "LIMIT",
    "WINDOW",
    "ASC",
    "DESC",
    "IN",
    "WITH",
    "INTO",
    "AGGREGATE",
    "GRAPH",
    "SHORTEST_PATH",
    "K_PATHS",
    "DISTINCT",
    "REMOVE",
    "INSERT",
    "UPDATE",
    "REPLACE",
    "UPSERT",
    "LIKE",
    "ANY",
]

KEYWORDS: Final[dict[str, tuple[str, object]]] = {
    **{word: (word, word) for word in _STATEMENT_WORDS},
    **{word: ("SOME_PATHS", word) for word in ("K_SHORTEST_PATHS", "ALL_SHORTEST_PATHS")},
    **{word: ("ALL_NONE", word) for word in ("ALL", "NONE")},
    **{word: ("DIRECTION", word) for word in ("OUTBOUND", "INBOUND")},
    **{word: ("OPERATOR", word) for word in ("AND", "OR")},
    "NOT": ("NOT", "!"),
    "NULL": ("CONSTANT", None),
    "TRUE": ("CONSTANT", True),
    "FALSE": ("CONSTANT", False),
}
"""Words that are keywords wherever they stand, with their class and value."""

_ESCAPE: Final = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))",
    re.DOTALL,
)
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_OPENING: Final = frozenset({"LPAR", "LSQB", "LBRACE"})
_CLOSING: Final = frozenset({"RPAR", "RSQB", "RBRACE"})


def is_keyword(name: str) -> bool:
    """Whether `name` is a word of the language wherever it stands without backticks."""
    return name.upper() in KEYWORDS


class Token:
    """One word: its class, its value, where it begins, and its place in lines."""

    __slots__ = ("at", "start", "type", "value")

    start_pos = line = column = end_line = end_column = end_pos = None  # asked for by lark

    def __init__(self, kind: str, value: object, start: int, at: Position) -> None:
        self.type = kind
        self.value = value
        self.start = start
        self.at = at


class Remedy(NamedTuple):
    """How to mend what is wrong with a query.

    Attributes:
        expected: What could have stood there, in full, for the details.
        told: The same in a few words, for the message.
        hint: What was likely meant, as the end of the message; then nothing else is told.
    """

    expected: tuple[str, ...] = ()
    told: str = ""
    hint: str = ""


_NO_REMEDY: Final = Remedy()


def refuse(
    message: str,
    at: Position,
    *,
    number: int = SYNTAX,
    near: str = "",
    remedy: Remedy = _NO_REMEDY,
) -> NoReturn:
    """Raise `InvalidQuery` under ArangoDB's `number`, with place, offending text and remedy."""
    shown = near if len(near) <= MAX_NEAR_CHARS else near[:MAX_NEAR_CHARS] + "…"
    text = f"{message} near {shown!r}" if near else message
    if remedy.told and not remedy.hint:
        text += f"; expected {remedy.told}"
    details = {"near": shown} if near else {}
    raise InvalidQuery(
        f"{text}, at line {at.line}, column {at.column}{remedy.hint}",
        error_code=number,
        line=at.line,
        column=at.column,
        details={**details, **({"expected": list(remedy.expected)} if remedy.expected else {})},
    )


class Places:
    """Turns offsets in a text into lines and columns."""

    __slots__ = ("_starts",)

    def __init__(self, text: str) -> None:
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def __call__(self, offset: int) -> Position:
        """The place of the character at `offset`."""
        line = bisect_right(self._starts, offset)
        return Position(line, offset - self._starts[line - 1] + 1)


def tokens(text: str) -> list[Token]:
    """The words of `text`, without blanks and comments.

    Raises:
        InvalidQuery: 1501 for what is no word, 1524 for more than the limits above.
    """
    place = Places(text[: MAX_QUERY_CHARS + 1])
    if len(text) > MAX_QUERY_CHARS:
        refuse(f"a query has at most {MAX_QUERY_CHARS} characters", place(0), number=TOO_DEEP)
    found: list[Token] = []
    depth = offset = 0
    end = len(text)
    while offset < end:
        match = _TOKEN.match(text, offset)
        if match is None:
            _refuse_word(text, offset, place)
        group = match.lastgroup
        if group != "SKIP":
            token = _token(group or "", match.group(), offset, place)
            found.append(token)
            depth += (token.type in _OPENING) - (token.type in _CLOSING)
            if depth > MAX_NESTING or len(found) > MAX_QUERY_TOKENS:
                _refuse_size(depth, token, text)
        offset = match.end()
    return found


def _refuse_size(depth: int, token: Token, text: str) -> NoReturn:
    what = f"brackets nest deeper than {MAX_NESTING} levels"
    if depth <= MAX_NESTING:
        what = f"a query has at most {MAX_QUERY_TOKENS} words and signs"
    refuse(what, token.at, number=TOO_DEEP, near=text[token.start :])


def _refuse_word(text: str, offset: int, place: Places) -> NoReturn:
    what = "unexpected character"
    if text[offset] in "\"'":
        what = "a string that does not end"
    elif text[offset] in "`\xb4":
        what = "a quoted name that does not end"
    refuse(what, place(offset), near=text[offset:])


def _token(group: str, word: str, offset: int, place: Places) -> Token:
    at = place(offset)
    kind, value = _kind_and_value(group, word, at)
    return Token(kind, value, offset, at)


def _kind_and_value(group: str, word: str, at: Position) -> tuple[str, object]:
    match group:
        case "SIGN":
            return _SIGNS[word]
        case "NAME":
            return KEYWORDS.get(word.upper()) or ("NAME", word)
        case "QUOTED" | "TICKED":
            return "NAME" if group == "TICKED" else "QUOTED", _unquote(word, at)
        case "BIND":
            return "CBIND" if word[1] == "@" else "BIND", word.lstrip("@")
        case "NOT_IN" | "AT_LEAST":
            return group, group.replace("_", " ")
        case _:
            return "NUMBER", _number(group, word)


def _number(group: str, word: str) -> int | float:
    """The value of a number's text; whole ones beyond 64 bits are floats, as in ArangoDB."""
    if group == "BASED":
        value = int(word, 0)
        return value if value <= _INT64_MAX else float("inf")
    if group == "WHOLE" and len(word) <= _INT64_DIGITS and (value := int(word)) <= _INT64_MAX:
        return value
    return float(word)


def _unquote(word: str, at: Position) -> str:
    """The text between the quotes, with JSON's escapes; any other escaped character is itself."""
    inner = word[1:-1]
    if "\\" in inner:
        inner = _ESCAPE.sub(_escaped, inner)
    if not inner.isascii() and _SURROGATE.search(inner):
        refuse("half of a surrogate pair", at, near=word)
    return inner


def _escaped(match: re.Match[str]) -> str:
    high, low, unit, other = match.groups()
    if high is not None:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    if unit is not None:
        return chr(int(unit, 16))
    return _ESCAPES.get(other, str(other))
