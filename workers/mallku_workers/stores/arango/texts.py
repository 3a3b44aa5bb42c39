"""Every AQL text that the store sends: built of constants here, values as bind parameters alone.

Names of collections come as `@@collection`, those of attributes one by one as `d.@f0_0.@f0_1` (AQL
manual, "Bind Parameters"); what a policy's rule asks comes from its own compiler, which keeps to
the same rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from mallku_contracts.arguments import Filters, SortField
from mallku_contracts.policy import DocumentRules
from mallku_workers.stores.paths import parse_path

LEDGER: Final = "mallku_ledger"
"""The collection that remembers finished mutations."""

RULE_PREFIX: Final = "r"
"""Bind parameters of a document rule begin with it."""

_WRITES: Final = {
    "insert": "INSERT w.document INTO @@collection",
    "update": "UPDATE w.target WITH w.document IN @@collection OPTIONS"
    " {{ignoreRevs: false, keepNull: {keep}, mergeObjects: {merge}}}",
    "replace": "REPLACE w.target WITH w.document IN @@collection OPTIONS {{ignoreRevs: false}}",
    "delete": "REMOVE w.target IN @@collection OPTIONS {{ignoreRevs: false}}",
}
# Characters are counted first: only what may be too large is counted byte by byte.
_FITS: Final = (
    "LET text = JSON_STRINGIFY(new)"
    " FILTER ASSERT(LENGTH(text) <= @quarter || LENGTH(TO_HEX(text)) <= @twice, 'too large')"
)


@cache
def combined_write(  # noqa: PLR0913 - the options of a write
    operation: str, *, keep: bool, merge: bool, return_new: bool, return_old: bool, silent: bool
) -> str:
    """Carry out many single writes of one kind, each with its ledger entry, all or none.

    A work whose deadline has passed by the database's clock is left out and gives no row.
    """
    has_new, has_old = operation != "delete", operation != "insert"
    write = _WRITES[operation].format(keep=_literal(keep), merge=_literal(merge))
    lines = ["FOR w IN @works FILTER DATE_NOW() <= w.deadline", write]
    lines += ["LET new = NEW"] if has_new else []
    lines += ["LET old = OLD"] if has_old else []
    lines += [_FITS] if operation == "update" else []
    result = _result(has_new=has_new, has_old=has_old, return_new=return_new, return_old=return_old)
    lines.append(f"LET result = {'true' if silent else result}")
    revisions = _revisions(has_new=has_new, has_old=has_old)
    lines.append(f"LET touched = [[@name, {'new' if has_new else 'old'}._key, {revisions}]]")
    lines.append(f"INSERT MERGE(w.entry, {{result: result, touched: touched}}) INTO {LEDGER}")
    row = ["n: w.n", "position: NEW._rev", "new: new" if has_new else "new: null"]
    row.append(_old(has_old=has_old, whole=return_old))
    lines.append(f"RETURN {{{', '.join(row)}}}")
    return " ".join(lines)


def _revisions(*, has_new: bool, has_old: bool) -> str:
    return f"{'old._rev' if has_old else 'null'}, {'new._rev' if has_new else 'null'}"


def _old(*, has_old: bool, whole: bool) -> str:
    if not has_old:
        return "old: null"
    return "old: old" if whole else "old: {_id: old._id, _key: old._key, _rev: old._rev}"


def _result(*, has_new: bool, has_old: bool, return_new: bool, return_old: bool) -> str:
    source = "new" if has_new else "old"
    meta = [f"_id: {source}._id", f"_key: {source}._key", f"_rev: {source}._rev"]
    meta += ["_old_rev: old._rev"] if has_new and has_old else []
    bodies = ["new: new"] if return_new and has_new else []
    bodies += ["old: old"] if return_old and has_old else []
    small = f"{{{', '.join(meta)}}}"
    if not bodies:
        return small
    whole = f"{{{', '.join([*meta, *bodies])}}}"
    return f"LENGTH(JSON_STRINGIFY({whole})) <= @bodies ? {whole} : {small}"


def _literal(value: bool) -> str:  # noqa: FBT001 - it is the value
    return "true" if value else "false"


_ENTRIES: Final = f"(FOR l IN {LEDGER} FILTER l._key IN @claims RETURN l)"

FORGET: Final = f"FOR l IN {LEDGER} FILTER l._key IN @claims REMOVE l IN {LEDGER}"
"""Remove ledger entries."""

ENTER: Final = (
    "FOR w IN @works FILTER DATE_NOW() <= w.deadline"
    f" INSERT w.entry INTO {LEDGER} RETURN {{key: NEW._key, position: NEW._rev}}"
)
"""Write ledger entries of works whose deadline has not passed by the database's clock."""

FINISH: Final = (
    f"FOR w IN @works REPLACE w.entry IN {LEDGER} RETURN {{key: NEW._key, position: NEW._rev}}"
)
"""Complete ledger entries that were begun."""

RECALL: Final = (
    f"FOR l IN {LEDGER} FILTER l._key == @key && l.expires_ms >= DATE_NOW() && l.begun == null"
    " RETURN l"
)
"""The entry under a key that has not expired."""

RECALL_SETTLED: Final = f"FOR l IN {LEDGER} FILTER l._key == @key RETURN l"
"""Whatever stands under a key: expired, or only begun, too."""

CLOCK: Final = "RETURN DATE_NOW()"
"""The database's own time, Unix milliseconds."""

RECALL_TRANSMISSION: Final = (
    f"FOR l IN {LEDGER} FILTER l.id == @id && LEFT(l._key, LENGTH(@owner)) == @owner"
    " && l.expires_ms >= DATE_NOW() && l.begun == null LIMIT 1 RETURN l"
)
"""The entry of a transmission under a key that begins with its owner's part."""

ENTRY: Final = f"RETURN {{now: DATE_NOW(), entries: {_ENTRIES}}}"
"""Ledger entries alone."""


@dataclass(slots=True)
class Search:
    """The conditions on documents `d` of one collection, and their bind values."""

    conditions: list[str] = field(default_factory=list)
    binds: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, collection: str, filters: Filters, rules: DocumentRules | None) -> Search:
        """What equals `filters`, of what the rules show."""
        search = cls(binds={"@collection": collection})
        for number, (name, value) in enumerate(filters.items()):
            search.equal(number, parse_path(name), value)
        return search.under(rules)

    def equal(self, number: int, path: Sequence[str], value: Any) -> None:
        """Let an attribute be equal to a value; null is equal to what is missing."""
        attribute = self._attribute(f"f{number}", path)
        self.add(f"{attribute} == @v{number}", **{f"v{number}": value})

    def _attribute(self, name: str, path: Sequence[str]) -> str:
        """Access to the attribute at `path`, its names bound under `name` and their places."""
        steps = {f"{name}_{place}": step for place, step in enumerate(path)}
        self.binds |= steps
        return ".".join(["d", *(f"@{step}" for step in steps)])

    def add(self, condition: str, **binds: Any) -> None:
        """Narrow further."""
        self.conditions.append(condition)
        self.binds |= binds

    def under(self, rules: DocumentRules | None) -> Search:
        """Only what the rules show."""
        if rules is not None and rules.where is not None:
            condition, binds = rules.where.to_aql("d", RULE_PREFIX)
            self.add(condition, **binds)
        return self

    @property
    def filter(self) -> str:
        """The conditions as a clause."""
        return f" FILTER {' && '.join(self.conditions)}" if self.conditions else ""

    def rows(self) -> str:
        """All of them."""
        return f"FOR d IN @@collection{self.filter} RETURN d"

    def number(self) -> str:
        """How many they are."""
        return f"FOR d IN @@collection{self.filter} COLLECT WITH COUNT INTO n RETURN n"

    def revision(self) -> str:
        """Their revisions alone."""
        return f"FOR d IN @@collection{self.filter} RETURN d._rev"

    def page(self, sort: Sequence[SortField]) -> str:
        """Those between `@skip` and `@skip + @count`, ties by key.

        Texts are compared by the collation of the database, except for keys: these go by code
        point everywhere, so that a page can be continued behind one.
        """
        keys = [
            f"{self._attribute(f's{number}', parse_path(by.sort_by))} {by.sort_order}"
            for number, by in enumerate(sort)
        ]
        order = ", ".join([*keys, BY_KEY])
        return f"FOR d IN @@collection{self.filter} SORT {order} LIMIT @skip, @count RETURN d"

    def first(self) -> str:
        """The first `@count` by key."""
        return f"FOR d IN @@collection{self.filter} SORT {BY_KEY} LIMIT @count RETURN d"


BY_KEY: Final = "TO_HEX(d._key)"
"""What orders by the code points of keys, whatever the collation."""

AFTER: Final = f"{BY_KEY} > @after"
"""Behind a key whose code points stand in `@after` as hexadecimal digits."""

SCAN: Final = (
    'FOR d IN @@collection OPTIONS {indexHint: "primary", forceIndexHint: true}'
    " FILTER d._key > @after SORT d._key LIMIT @count RETURN d"
)
"""A page of a whole collection, by the primary index: its order is that of the bytes of keys."""
