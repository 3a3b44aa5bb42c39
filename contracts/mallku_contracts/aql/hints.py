"""What a syntax error says besides its place: what could stand there, what was likely meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from mallku_contracts.aql.lexer import KEYWORDS, Token
from mallku_contracts.wording import did_you_mean

MAX_TOLD: Final = 4
"""How many things that could have stood there a message names."""

MAX_LISTED: Final = 12
"""How many an error lists in its details, count."""

_LOOK_BACK: Final = 2
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

_CONSTANTS: Final = frozenset({"NUMBER", "QUOTED", "BIND", "CONSTANT"})
_VALUES: Final = _CONSTANTS | {"LPAR", "LSQB", "LBRACE", "NAME", "CBIND"}
_BEFORE_VALUES: Final = frozenset({"PLUS_MINUS", "NOT", "LIKE"})
_BETWEEN_VALUES: Final = frozenset({"COMPARISON", "OPERATOR", "REGEX", "PLUS_MINUS", "STAR", "IN"})
_NEGATED: Final = frozenset({"NOT", "NOT_IN", "LIKE", "ANY", "ALL_NONE", "AT_LEAST", "DIRECTION"})
_BEHIND_VALUES: Final = frozenset({"QUESTION", "DOT", "QDOT", "LSQB", "LPAR", "SCOPE", "NAME"})
_READING: Final = frozenset({"FOR", "LET", "FILTER", "SORT", "LIMIT", "COLLECT", "WINDOW"})
_WRITING: Final = frozenset({"INSERT", "UPDATE", "REPLACE", "REMOVE", "UPSERT"})

_GROUPS: Final[tuple[tuple[str, frozenset[str], frozenset[str]], ...]] = (
    ("a value", frozenset({"LPAR", "NUMBER", "QUOTED", "LBRACE"}), _VALUES | _BEFORE_VALUES),
    (
        "a number, a string or a bind parameter",
        frozenset({"NUMBER", "QUOTED", "BIND"}),
        _CONSTANTS,
    ),
    (
        "an operator",
        frozenset({"COMPARISON", "OPERATOR", "STAR"}),
        _BETWEEN_VALUES | _NEGATED | _BEHIND_VALUES,
    ),
    (
        "a statement (FILTER, RETURN, …)",
        frozenset({"FILTER", "RETURN"}),
        _READING | _WRITING | {"RETURN", "NAME"},
    ),
)
"""What to say in the place of many classes of words: where the first set is accepted, it stands
for all of the second."""

_ELSEWHERE: Final = {
    "DELETE": "REMOVE",
    "GROUP": "COLLECT",
    "HAVING": "FILTER",
    "ORDER": "SORT",
    "SELECT": "RETURN",
    "WHERE": "FILTER",
}
"""Words of SQL, and what AQL has in their place."""


def listed(accepted: Iterable[str]) -> tuple[str, ...]:
    """What could have stood there, in full; nothing when that would be half of the language."""
    shown = sorted(_SHOWN.get(name, name) for name in accepted)
    return tuple(shown) if len(shown) <= MAX_LISTED else ()


def told(accepted: Iterable[str]) -> str:
    """What could have stood there, in a few plain words; empty where few would not do."""
    left = set(accepted)
    words: list[str] = []
    for name, signs, members in _GROUPS:
        if signs <= left:
            words.append(name)
            left -= members
    words += sorted(_word(name) for name in left)
    return one_of(words) if len(words) <= MAX_TOLD else ""


def one_of(words: Sequence[str]) -> str:
    """The words as an enumeration."""
    *first, last = words or [""]
    return f"{', '.join(first)} or {last}" if first else last


def _word(name: str) -> str:
    shown = _SHOWN.get(name, name)
    if shown[0].isalpha():
        return shown
    return " or ".join(f"'{sign}'" for sign in shown.split(" or "))


def likely(seen: Sequence[Token], token: Token | None, accepted: Iterable[str] = ()) -> str:
    """The end of a message that says what was likely meant by the word, or by one just before."""
    if token is not None and token.type == "ASSIGN" and "COMPARISON" in accepted:
        return "; did you mean '=='?"
    before = [word for word in reversed(seen[-_LOOK_BACK:]) if str(word.value).isupper()]
    for word in before if token is None else [token, *before]:
        if word.type == "NAME" and (hint := meant(str(word.value))):
            return hint
    return ""


def meant(name: str, *more: str) -> str:
    """The same for a name that stands where a keyword, or one of `more`, could."""
    upper = name.upper()
    if upper in _ELSEWHERE:
        return f"; did you mean {_ELSEWHERE[upper]!r}?"
    # Who mistypes a word gets its first letter right, and two words with another are no typo.
    known = [word for word in (*KEYWORDS, *more) if word[0] == upper[:1]]
    return did_you_mean(upper, known)
