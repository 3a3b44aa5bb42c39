"""Generated documents, indexes and queries, for the oracle and for us."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st

from tests.workers.embedded.aql import oracle as o

SCALARS: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.5, -0.5, 1.0, 2**53, 2**53 + 2]),
    st.sampled_from(o.TEXTS),
)
VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)
    ),
    max_leaves=5,
)
NUMBERS: Final = st.one_of(st.none(), st.integers(-3, 6))
INDEXES: Final = (("v",), ("n",), ("n", "v"), ("v", "n"), ("o.x",), ("n", "o.x", "v"))
INDEXED: Final = ("v", "n", "o.x")
COLLECTIONS: Final = ("c0", "c1")


@st.composite
def documents(draw: st.DrawFn, most: int = 8) -> list[dict[str, Any]]:
    """Documents with attributes that may be missing, null, or of any kind."""
    found = []
    for place in range(draw(st.integers(0, most))):
        document: dict[str, Any] = {"_key": f"k{place}", "u": place * 10}
        optional = {"v": VALUES, "n": NUMBERS, "l": st.lists(SCALARS, max_size=3), "o": VALUES}
        for name, strategy in optional.items():
            if draw(st.integers(0, 4)):
                document[name] = draw(strategy)
        if draw(st.booleans()):
            document["o"] = {"x": draw(VALUES), "y": draw(SCALARS)}
        found.append(document)
    return found


@dataclass(frozen=True)
class IndexSpec:
    """An index to be created."""

    fields: tuple[str, ...]
    sparse: bool = False
    unique: bool = False


@st.composite
def indexes(draw: st.DrawFn) -> list[IndexSpec]:
    """Indexes of one collection."""
    chosen = draw(st.lists(st.sampled_from(INDEXES), unique=True, max_size=3))
    found = [IndexSpec(fields, sparse=draw(st.booleans())) for fields in chosen]
    return [*found, IndexSpec(("u",), unique=True)] if draw(st.booleans()) else found


Indexes: TypeAlias = dict[str, list[IndexSpec]]
"""The indexes of each collection."""


@dataclass
class Names:
    """Which variables an expression may use."""

    documents: list[str]
    values: list[str]
    ids: o.Ids

    def inner(self) -> Names:
        """The same, to be added to."""
        return Names(list(self.documents), list(self.values), self.ids)


@st.composite
def fields(draw: st.DrawFn, names: Names) -> o.Part:
    """An attribute of a loop's document."""
    document = o.variable(draw(st.sampled_from(names.documents)))
    path = draw(st.sampled_from(["v", "n", "v", "n", "o.x", "o.y", "u", "l", "o", "no", "_key"]))
    part = document
    for name in path.split("."):
        part = o.member(part, name, quoted=draw(st.integers(0, 5)) == 0)
    return part


@st.composite
def atoms(draw: st.DrawFn, names: Names) -> o.Part:
    """A constant, a variable, or an attribute."""
    kinds = ["constant", *(["field"] * 3 if names.documents else [])]
    kinds += ["variable"] if names.values else []
    match draw(st.sampled_from(kinds)):
        case "field":
            return draw(fields(names))
        case "variable":
            return o.variable(draw(st.sampled_from(names.values)))
        case _:
            return o.constant(draw(VALUES))


@st.composite
def expressions(  # noqa: PLR0911 - one for each kind
    draw: st.DrawFn, names: Names, depth: int = 2
) -> o.Part:
    """Any expression."""
    if depth == 0 or draw(st.integers(0, 2)) == 0:
        return draw(atoms(names))
    smaller = expressions(names, depth - 1)
    match draw(st.integers(0, 8)):
        case 0:
            condition = draw(conditions(names, depth - 1))
            return o.choice(condition, draw(smaller), draw(smaller))
        case 1:
            return o.array(draw(st.lists(smaller, max_size=3)))
        case 2:
            return o.record({"a": draw(smaller), "b": draw(smaller)})
        case 3 | 4:
            operator = draw(st.sampled_from(sorted(o.ARITHMETIC)))
            return o.binary(operator, draw(smaller), draw(smaller))
        case 5 | 6:
            return draw(expansions(names, depth - 1))
        case 7:
            word = draw(st.sampled_from([o.both, o.either]))
            return word(draw(smaller), draw(smaller))
        case _:
            return draw(conditions(names, depth - 1))


@st.composite
def expansions(draw: st.DrawFn, names: Names, depth: int) -> o.Part:
    """`subject[* FILTER … LIMIT … RETURN …]`."""
    inside = names.inner()
    inside.values.append("CURRENT")
    subject = draw(fields(names)) if names.documents else o.constant(draw(st.lists(SCALARS)))
    limit = st.tuples(st.integers(0, 2), st.integers(0, 3))
    return o.expansion(
        subject,
        draw(st.none() | _of_current() | conditions(inside, depth)),
        draw(st.none() | limit),
        draw(st.none() | expressions(inside, depth)),
    )


@st.composite
def _of_current(draw: st.DrawFn) -> o.Part:
    operator = draw(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
    return o.binary(operator, o.variable("CURRENT"), o.constant(draw(SCALARS)))


@st.composite
def comparisons(draw: st.DrawFn, names: Names) -> o.Part:
    """A comparison, most often of an attribute with something that an index can be asked for."""
    left = draw(fields(names)) if names.documents else draw(atoms(names))
    right = draw(atoms(names))
    operator = draw(st.sampled_from(sorted(o.COMPARISONS)))
    if operator.endswith("IN"):
        values = st.lists(SCALARS, max_size=4).map(o.constant)
        return o.binary(operator, left, draw(values | atoms(names)))
    if draw(st.integers(0, 9)) == 0:
        quantifier = draw(st.sampled_from(["ANY", "ALL", "NONE"]))
        return o.quantified(quantifier, operator, left, right)
    if draw(st.booleans()):
        left, right = right, left
    return o.binary(operator, left, right)


def of_document(path: str) -> o.Part:
    """An attribute of `d`."""
    part = o.variable("d")
    for name in path.split("."):
        part = o.member(part, name)
    return part


@st.composite
def comparisons_of(draw: st.DrawFn, path: str) -> o.Part:
    """A comparison of an attribute of `d` with a constant."""
    operator = draw(st.sampled_from(sorted(o.COMPARISONS)))
    values = st.lists(SCALARS, max_size=3) if operator.endswith("IN") else VALUES
    return o.binary(operator, of_document(path), o.constant(draw(values)))


@st.composite
def conditions(draw: st.DrawFn, names: Names, depth: int = 2) -> o.Part:
    """A condition of comparisons, put together."""
    if depth == 0 or draw(st.booleans()):
        return draw(comparisons(names))
    smaller = conditions(names, depth - 1)
    match draw(st.integers(0, 5)):
        case 0:
            return o.negation(draw(smaller))
        case 1 | 2:
            return o.either(draw(smaller), draw(smaller), word=draw(st.sampled_from(["OR", "||"])))
        case _:
            return o.both(draw(smaller), draw(smaller), word=draw(st.sampled_from(["AND", "&&"])))


@st.composite
def loops(draw: st.DrawFn, names: Names) -> list[o.Statement]:
    """A FOR with the FILTERs and LETs behind it."""
    name = names.ids.next()
    kind = draw(st.integers(0, 5))
    if kind <= 3:
        statement = o.for_documents(name, draw(st.sampled_from(COLLECTIONS)))
        names.documents.append(name)
    elif kind == 4:
        statement = o.for_values(name, o.span(draw(st.integers(-1, 3)), draw(st.integers(-1, 3))))
        names.values.append(name)
    else:
        statement = o.for_values(name, draw(expansions(names, 1)))
        names.values.append(name)
    found = [statement]
    for _ in range(draw(st.integers(0, 2))):
        if draw(st.integers(0, 2)):
            found.append(o.filtered(draw(conditions(names))))
        else:
            part = draw(expressions(names))
            found.append(o.let(names.ids.next(), part))
            names.values.append(names.ids.made[-1])
    return found


def total(names: Names, wanted: list[tuple[o.Part, bool]]) -> o.Statement:
    """A SORT that leaves no two rows in doubt."""
    keys = [(o.member(o.variable(name), "_id"), False) for name in names.documents]
    return o.sort([*wanted, *keys, *((o.variable(name), False) for name in names.values)])


@st.composite
def collects(draw: st.DrawFn, names: Names) -> list[o.Statement]:
    """A COLLECT; behind it the names are its own."""
    groups = [
        (names.ids.next(), draw(expressions(names, 1))) for _ in range(draw(st.integers(1, 2)))
    ]
    made = [name for name, _ in groups]
    match draw(st.integers(0, 3)):
        case 0:
            collecting = o.Collecting(groups, count=names.ids.next())
            made.append(names.ids.made[-1])
        case 1:
            into = names.ids.next()
            collecting = o.Collecting(groups, into=into, keep=draw(expressions(names, 1)))
            made.append(f"{into}_")
        case _:
            aggregates = [
                (names.ids.next(), name, draw(_aggregated(names, name)))
                for name in draw(st.lists(st.sampled_from(sorted(o.AGGREGATES)), max_size=3))
            ]
            collecting = o.Collecting(groups, aggregates)
            made += [name for name, _, _ in aggregates]
    names.documents, names.values = [], made
    return [collecting.statement()]


@st.composite
def _aggregated(draw: st.DrawFn, names: Names, function: str) -> o.Part:
    part = draw(fields(names) if names.documents else atoms(names))
    if function == "MIN":  # what nulls do there depends on the order of the rows
        null = o.binary("==", part, o.constant(None))
        return o.choice(null, o.constant("none"), part)
    return part


@st.composite
def queries(draw: st.DrawFn, outer: Names | None = None, most: int = 3) -> o.Query:
    """A query that reads."""
    names = Names([], [], o.Ids()) if outer is None else outer.inner()
    own = Names([], [], names.ids)
    statements: list[o.Statement] = []
    for _ in range(draw(st.integers(1, most))):
        statements += draw(loops(names))
        if outer is None and draw(st.integers(0, 5)) == 0:
            subquery = draw(queries(names, 1))
            statements.append(o.let_query(names.ids.next(), subquery))
            names.values.append(names.ids.made[-1])
    before = outer or own
    ordered = draw(st.integers(0, 2)) == 0
    if ordered:
        statements += draw(collects(names))
    if draw(st.booleans()):
        ordered = True
        wanted = draw(st.lists(st.tuples(expressions(names, 1), st.booleans()), max_size=2))
        new = Names(
            [name for name in names.documents if name not in before.documents],
            [name for name in names.values if name not in before.values],
            names.ids,
        )
        statements.append(total(new, wanted))
        if draw(st.booleans()):
            statements.append(o.limit(draw(st.integers(0, 3)), draw(st.integers(0, 5))))
    distinct = draw(st.integers(0, 3)) == 0
    return o.Query(statements, draw(expressions(names)), distinct, ordered and not distinct)
