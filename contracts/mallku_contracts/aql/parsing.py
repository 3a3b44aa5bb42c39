"""From the text of a query to its tree.

The parser itself is built at the first call of `parse`: importing this module costs nothing.
"""

from __future__ import annotations

from mallku_contracts.aql.resolve import resolve
from mallku_contracts.aql.tree import Query


def parse(text: str) -> Query:
    """The tree of a query, with its names resolved and all of ArangoDB's checks without data.

    A name that no variable has is a `Collection`; whether there is one (1203) is the store's to
    say. Trees are immutable: keep them by their text, in a cache that is bounded.

    Raises:
        InvalidQuery: `error_code` is ArangoDB's number: 1501 for syntax (what stood there and what
            was expected, with line and column), 1511 for a variable declared twice, 1512 for an
            unknown one, 1208 for a name that no collection can have, 1540 for an unknown function,
            1541 for a wrong number of arguments, 1553 for a value's bind parameter in place of a
            collection's, 1574 for what does not aggregate, 1575 for OPTIONS that are not constant,
            1524 for a query larger or deeper than the limits of `lexer` and `resolve`.
        NotSupported: for SEARCH and for UPSERT FILTER, by name.
    """
    from mallku_contracts.aql.machine import parse_words

    return resolve(parse_words(text))
