"""The generated parser: built from the grammar at its first use, which takes about 0.15 s."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NoReturn

from lark import Lark
from lark.exceptions import UnexpectedToken
from lark.lexer import Lexer

from mallku_contracts.aql import hints
from mallku_contracts.aql.build_statements import StatementActions
from mallku_contracts.aql.checks import refuse_function
from mallku_contracts.aql.functions import ARITIES
from mallku_contracts.aql.grammar import GRAMMAR
from mallku_contracts.aql.lexer import Places, Remedy, Token, refuse, tokens
from mallku_contracts.aql.tree import Query


class _Words(Lexer):
    """Hands lark the words that `parse` has read already."""

    def __init__(self, _conf: Any) -> None:
        pass

    def lex(self, data: Any) -> Iterator[Any]:  # type: ignore[override]  # lark gives it no state
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
        query: Query = _machine().parse(words)  # type: ignore[assignment]  # of the transformer
    except UnexpectedToken as unexpected:
        _refuse(unexpected, words, text)
    return query


def _refuse(unexpected: UnexpectedToken, words: list[Token], text: str) -> NoReturn:
    token = unexpected.token
    at_end = not isinstance(token, Token)
    seen = words if at_end else words[: words.index(token)]
    _refuse_unknown_call(seen)
    accepted = frozenset(unexpected.accepts or ())
    hint = hints.likely(seen, token if isinstance(token, Token) else None, accepted)
    remedy = Remedy(hints.listed(accepted), hints.told(accepted), hint)
    if isinstance(token, Token):
        refuse("syntax error", token.at, near=text[token.start :], remedy=remedy)
    refuse("syntax error: unexpected end of query", Places(text)(len(text)), remedy=remedy)


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
