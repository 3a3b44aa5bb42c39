"""The generated parser: built from the grammar at its first use, which takes about 0.15 s."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Final, NoReturn

from lark import Lark
from lark.exceptions import UnexpectedToken
from lark.lexer import Lexer

from mallku_contracts.aql.build_statements import StatementActions
from mallku_contracts.aql.checks import refuse_function
from mallku_contracts.aql.functions import ARITIES
from mallku_contracts.aql.grammar import GRAMMAR
from mallku_contracts.aql.lexer import Places, Token, refuse, tokens
from mallku_contracts.aql.tree import Query

MAX_EXPECTED: Final = 12
"""How many of the words that could have stood there an error lists."""

_SHOWN: Final = {
    "$END": "end of query",
    "ALL_NONE": "ALL or NONE",
    "ASSIGN": "=",
    "AT_LEAST": "AT LEAST",
    "BIND": "bind parameter",
    "CBIND": "collection bind parameter",
    "COLON": ":",
    "COMMA": ",",
    "COMPARISON": "comparison",
    "CONSTANT": "null, true or false",
    "DIRECTION": "OUTBOUND or INBOUND",
    "DOT": ".",
    "LBRACE": "{",
    "LPAR": "(",
    "LSQB": "[",
    "NAME": "name",
    "NOT_IN": "NOT IN",
    "NUMBER": "number",
    "OPERATOR": "operator",
    "PLUS_MINUS": "+ or -",
    "QDOT": "?.",
    "QUESTION": "?",
    "QUOTED": "string",
    "RBRACE": "}",
    "REGEX": "=~ or !~",
    "RPAR": ")",
    "RSQB": "]",
    "SCOPE": "::",
    "SOME_PATHS": "K_SHORTEST_PATHS or ALL_SHORTEST_PATHS",
    "STAR": "*",
}


class _Words(Lexer):
    """Hands lark the words that `parse` has read already."""

    def __init__(self, _conf: Any) -> None:
        pass

    def lex(self, data: Any) -> Iterator[Any]:  # type: ignore[override] - lark gives it no state
        return iter(data)


@cache
def _machine() -> Lark:
    return Lark(
        GRAMMAR,
        parser="lalr",
        lexer=_Words,
        transformer=StatementActions(),
        keep_all_tokens=True,
        maybe_placeholders=False,
    )


def parse_words(text: str) -> Query:
    """The tree of `text`, with every name still a `Variable`.

    Raises:
        InvalidQuery: 1501 and its like, see `parsing.parse`.
        NotSupported: for what is named there.
    """
    words = tokens(text)
    try:
        query: Query = _machine().parse(words)  # type: ignore[assignment] - of the transformer
    except UnexpectedToken as unexpected:
        _refuse(unexpected, words, text)
    return query


def _refuse(unexpected: UnexpectedToken, words: list[Token], text: str) -> NoReturn:
    token = unexpected.token
    at_end = not isinstance(token, Token)
    seen = words if at_end else words[: words.index(token)]
    _refuse_unknown_call(seen)
    expected = _expected(unexpected)
    if isinstance(token, Token):
        refuse("syntax error", token.at, near=text[token.start :], expected=expected)
    refuse("syntax error: unexpected end of query", Places(text)(len(text)), expected=expected)


def _refuse_unknown_call(words: list[Token]) -> None:
    """As ArangoDB, complain of an unknown function first when its call was complete."""
    opened: list[Token | None] = []
    for before, word in zip([None, *words], words, strict=False):
        if word.type == "LPAR":
            opened.append(before if before is not None and before.type == "NAME" else None)
        elif word.type == "RPAR" and opened:
            name = opened.pop()
            if name is not None and str(name.value).upper() not in ARITIES:
                refuse_function(str(name.value).upper(), name.at)


def _expected(unexpected: UnexpectedToken) -> tuple[str, ...]:
    """What could have stood there; nothing when that would be half of the language."""
    accepted = sorted(_SHOWN.get(name, name) for name in unexpected.accepts or ())
    return tuple(accepted) if len(accepted) <= MAX_EXPECTED else ()
