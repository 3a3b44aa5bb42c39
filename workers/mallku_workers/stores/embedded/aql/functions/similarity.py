"""How much two strings are alike.

Source: ArangoDB manual, "String functions in AQL"; L. Boytsov, "Indexing methods for approximate
dictionary searching" (Damerau-Levenshtein); the American Soundex of the US National Archives.
"""

from __future__ import annotations

import unicodedata
from typing import Any, Final

from mallku_contracts.errors import ResourceLimit
from mallku_workers.stores.embedded.aql.call import Call
from mallku_workers.stores.embedded.aql.functions.base import Function
from mallku_workers.stores.embedded.aql.values import is_number, to_bool, to_integer

MAX_COMPARED: Final = 4_000_000
"""The lengths of two strings, multiplied, whose distance is reckoned: about two seconds."""

_CHECK_EVERY: Final = 64
_SOUNDEX: Final = {
    char: code
    for code, chars in enumerate(("BFPV", "CGJKQSXZ", "DT", "L", "MN", "R"), 1)
    for char in chars
}
_SOUNDEX_LENGTH: Final = 4


def _distance(call: Call, one: str, other: str, *, swaps: bool = True) -> int:
    """Insertions, deletions, replacements and swaps of neighbours from one to the other."""
    if len(one) * len(other) > MAX_COMPARED:
        raise ResourceLimit(f"strings whose lengths multiply to more than {MAX_COMPARED}")
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, char in enumerate(one, 1):
        if i % _CHECK_EVERY == 0:
            call.check()
        last, before, row = before, row, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (char != wanted))
            if swaps and i > 1 and j > 1 and char == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _levenshtein_distance(call: Call, one: Any, other: Any) -> int:
    return _distance(call, call.text(one), call.text(other))


def _levenshtein_match(call: Call, one: Any, other: Any, most: Any, *options: Any) -> Any:
    """Whether the distance is at most so much; the last two options mean a search index."""
    swaps = options[0] if options else True
    if type(one) is not str or type(other) is not str or not is_number(most) or most < 0:
        return call.wrong_type("LEVENSHTEIN_MATCH")
    return _distance(call, one, other, swaps=to_bool(swaps)) <= to_integer(most)


def _soundex(call: Call, value: Any) -> str:
    """A letter and three digits for how an English word sounds."""
    text = unicodedata.normalize("NFD", call.text(value)).upper()
    letters = [char for char in text if "A" <= char <= "Z"]
    if not letters:
        return ""
    code, last = letters[0], _SOUNDEX.get(letters[0])
    for char in letters[1:]:
        sound = _SOUNDEX.get(char)
        if sound is not None and sound != last:
            code += str(sound)
        if len(code) == _SOUNDEX_LENGTH:
            break
        if char not in "HW":
            last = sound
    return code.ljust(_SOUNDEX_LENGTH, "0")


SIMILARITY: Final = (
    Function("LEVENSHTEIN_DISTANCE", 2, 2, _levenshtein_distance),
    Function("LEVENSHTEIN_MATCH", 3, 6, _levenshtein_match),
    Function("SOUNDEX", 1, 1, _soundex),
)
