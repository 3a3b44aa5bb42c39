"""Queries by semantic names: changed by the query's tree, or refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_client.mallku.following import SecuredNames
from mallku_client.mallku.queries import secure_query
from mallku_contracts.errors import InvalidQuery

NAMES = SecuredNames(frozenset({"acts"}), lambda name: f"<{name}>")
UUID = "00000000-0000-5000-8000-000000000001"

SAME = [
    "FOR d IN open FILTER d.kind == 1 RETURN d",
    "RETURN 'acts'",
    "FOR d IN open FILTER d.text == 'acts.kind' RETURN d",
]

CHANGED = [
    ("FOR d IN acts FILTER d.kind == 1 RETURN d", "FOR d IN acts FILTER d.`<kind>` == 1 RETURN d"),
    ("FOR d IN acts RETURN d._key", "FOR d IN acts RETURN d._key"),
    (f"FOR d IN acts RETURN d.`{UUID}`", f"FOR d IN acts RETURN d.`{UUID}`"),
    ("FOR d IN acts RETURN d.a.b[0].c", "FOR d IN acts RETURN d.`<a>`.b[0].c"),
    ("FOR d IN acts RETURN d['a']", 'FOR d IN acts RETURN d["<a>"]'),
    ("FOR d IN acts SORT d.a DESC, d.b LIMIT 3 RETURN 1",
     "FOR d IN acts SORT d.`<a>` DESC, d.`<b>` LIMIT 3 RETURN 1"),
    ("FOR d IN acts RETURN {kind: d.kind, d}", "FOR d IN acts RETURN {kind: d.`<kind>`, d}"),
    ("FOR d IN acts FOR o IN open FILTER o.kind == d.kind RETURN o.kind",
     "FOR d IN acts FOR o IN open FILTER o.kind == d.`<kind>` RETURN o.kind"),
    ("FOR d IN acts LET x = d RETURN x.a", "FOR d IN acts LET x = d RETURN x.`<a>`"),
    ("LET x = (FOR d IN acts RETURN d) RETURN x[0].a",
     "LET x = (FOR d IN acts RETURN d) RETURN x[0].`<a>`"),
    ("LET x = (FOR d IN acts RETURN d) RETURN x[*].a",
     "LET x = (FOR d IN acts RETURN d) RETURN x[*].`<a>`"),
    ("LET x = (FOR d IN acts RETURN d) RETURN x[* FILTER CURRENT.a > 1 RETURN CURRENT.b]",
     "LET x = (FOR d IN acts RETURN d) RETURN x[* FILTER CURRENT.`<a>` > 1 RETURN CURRENT.`<b>`]"),
    ("LET x = (FOR d IN acts RETURN d.list) RETURN x[0].a",
     "LET x = (FOR d IN acts RETURN d.`<list>`) RETURN x[0].a"),
    ("FOR d IN acts COLLECT k = d.kind WITH COUNT INTO n RETURN {k, n}",
     "FOR d IN acts COLLECT k = d.`<kind>` WITH COUNT INTO n RETURN {k, n}"),
    ("FOR d IN acts COLLECT k = d.kind INTO g RETURN g[*].d.a",
     "FOR d IN acts COLLECT k = d.`<kind>` INTO g RETURN g[*].d.`<a>`"),
    ("FOR d IN acts COLLECT k = d.kind AGGREGATE s = SUM(d.w), c = COUNT(1) RETURN s",
     "FOR d IN acts COLLECT k = d.`<kind>` AGGREGATE s = SUM(d.`<w>`), c = COUNT(1) RETURN s"),
    ("FOR d IN acts RETURN d.a ? d.b : d.c", "FOR d IN acts RETURN d.`<a>` ? d.`<b>` : d.`<c>`"),
    ("FOR d IN acts FILTER @all ALL IN d.tags RETURN 1",
     "FOR d IN acts FILTER @all ALL IN d.`<tags>` RETURN 1"),
    ("FOR d IN acts FILTER CONTAINS(LOWER(d.text), 'kind') RETURN 1",
     'FOR d IN acts FILTER CONTAINS(LOWER(d.`<text>`), "kind") RETURN 1'),
    ("FOR d IN acts FILTER HAS(d, 'kind') RETURN KEEP(d, ['a', 'b']).a",
     'FOR d IN acts FILTER HAS(d, "<kind>") RETURN KEEP(d, ["<a>", "<b>"]).`<a>`'),
    ("RETURN LENGTH(acts)", "RETURN LENGTH(acts)"),
    ("RETURN FIRST(FOR d IN acts RETURN d).a", "RETURN FIRST(FOR d IN acts RETURN d).`<a>`"),
    ("LET o = FIRST(FOR d IN acts RETURN {whole: d, n: 1}) RETURN [o.whole.a, o.n]",
     "LET o = FIRST(FOR d IN acts RETURN {whole: d, n: 1}) RETURN [o.whole.`<a>`, o.n]"),
    ("FOR acts IN open RETURN acts.kind", None),
    ("FOR d IN acts FILTER d.kind == 'd.kind' /* d.kind */ RETURN 1",
     'FOR d IN acts FILTER d.`<kind>` == "d.kind" RETURN 1'),
]  # fmt: skip

REFUSED = [
    ("FOR d IN acts RETURN MERGE(d, {a: 1})", "MERGE"),
    ("FOR d IN acts RETURN ATTRIBUTES(d)", "ATTRIBUTES"),
    ("FOR d IN acts RETURN VALUES(d)", "VALUES"),
    ("FOR d IN acts RETURN d[CONCAT('a', 'b')]", "computed name"),
    ("RETURN DOCUMENT('acts/1').kind", "DOCUMENT"),
    ("FOR v IN 1..2 OUTBOUND 'acts/1' edges RETURN v.kind", "traversal"),
    ("FOR d IN acts UPDATE d WITH {kind: 1} IN acts", "changes a secured collection"),
    ("FOR d IN acts FOR o IN open LET x = d.a ? d : o RETURN x.kind", "something else"),
    ("FOR d IN acts RETURN", "unexpected|expected"),
]


@pytest.mark.parametrize("text", SAME)
def test_a_query_about_nothing_secured_is_left_alone(text: str) -> None:
    """It is sent as it is."""
    assert secure_query(text, {}, NAMES) is None


@pytest.mark.parametrize(("text", "expected"), CHANGED)
def test_secured_fields_are_named_by_their_uuid(text: str, expected: str | None) -> None:
    """Where the value in front is a secured document, and nowhere else."""
    binds: dict[str, Any] = {"all": []} if "@all" in text else {}
    made = secure_query(text, binds, NAMES)
    assert (None if made is None else made.text) == expected


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_what_names_cannot_follow_is_refused(text: str, why: str) -> None:
    """With a place and the reason; never sent with names that mean nothing there."""
    with pytest.raises(InvalidQuery, match=why) as refused:
        secure_query(text, {}, NAMES)
    assert refused.value.details["line"] == 1


def test_bound_names_are_changed_where_they_are_names() -> None:
    """The same bind value elsewhere stays what it is."""
    binds: dict[str, Any] = {"@c": "acts", "f": "kind", "path": ["deep", "er"]}
    made = secure_query(
        "FOR d IN @@c FILTER d.@f == @f AND d[@f] != 1 RETURN d.@path", binds, NAMES
    )
    assert made is not None
    assert made.binds["f"] == "kind"
    assert made.binds["@c"] == "acts"
    changed = {key: value for key, value in made.binds.items() if key not in binds}
    assert sorted(map(str, changed.values())) == ["<kind>", "<kind>", "['<deep>', 'er']"]
    assert "path" not in made.binds


def test_a_secured_collection_may_hide_in_a_bind_value() -> None:
    """`@@c` counts as what it stands for."""
    assert secure_query("FOR d IN @@c RETURN d.a", {"@c": "open"}, NAMES) is None
    made = secure_query("FOR d IN @@c RETURN d.a", {"@c": "acts"}, NAMES)
    assert made is not None
    assert made.text == "FOR d IN @@c RETURN d.`<a>`"
