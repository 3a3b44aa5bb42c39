from __future__ import annotations

import pytest

from mallku_contracts.flags import (
    MAX_FLAG_CHARS,
    MAX_FLAG_NUMBER,
    MAX_FLAGS,
    MAX_FLAGS_CHARS,
    MAX_ROUTES,
    FlagsError,
    check_flags,
    read_flags,
)
from mallku_contracts.routes import Route

GOOD = """
version: 7
collections:
  memory_anchors: shadow
  "fc_*": legacy
  "fc_special*": shadow
  "*_old": gateway
default: gateway
flags: {combine-gets: true, page: 50, note: as agreed, debt: -1}
"""


@pytest.mark.parametrize(
    ("collection", "route"),
    [
        ("memory_anchors", Route.SHADOW),
        ("memory_anchors2", Route.GATEWAY),
        ("fc_a", Route.LEGACY),
        ("fc_special", Route.LEGACY),
        ("fc_old", Route.LEGACY),
        ("x_old", Route.GATEWAY),
    ],
)
def test_a_collection_goes_by_its_own_line_or_the_first_glob(collection: str, route: Route) -> None:
    """A name before globs, globs in their order, the default for the rest."""
    assert read_flags(GOOD).route(collection) is route


def test_what_nobody_mentions_goes_through_the_gateway() -> None:
    """A document without a word about collections sends nobody back."""
    assert read_flags("version: 1").route("anything") is Route.GATEWAY


def test_values_keep_their_kind() -> None:
    """True is no number and a number no text."""
    flags = read_flags(GOOD).flags
    assert flags == {"combine-gets": True, "page": 50, "note": "as agreed", "debt": -1}
    assert [type(value) for value in flags.values()] == [bool, int, str, int]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("collections: {a: shadow}", "f.yaml:1:1: version: it is missing"),
        ("version: 0", "version: at least 1 is expected"),
        ("version: 1\ncollection: {a: shadow}", "2:1: collection: there is no such key; did you"),
        ("version: 1\ncollections: {a: shadwo}", "collections.a: legacy or shadow or gateway"),
        ("version: 1\ncollections: {mallku_x: shadow}", "belong to the gateway"),
        ("version: 1\ncollections: {'a.b': shadow}", "not a name or a glob"),
        ("version: 1\ndefault: none", "2:1: default: legacy or shadow or gateway is expected"),
        ("version: 1\nflags: {a b: true}", "is not a name"),
        ("version: 1\nflags: {a: 1.5}", "flags.a: a flag is true or false, a whole number"),
        ("version: 1\nflags: {a: [1]}", "flags.a: a flag is true or false"),
        ("version: 1\nflags: {a: null}", "flags.a: a flag is true or false"),
        (f"version: 1\nflags: {{a: {MAX_FLAG_NUMBER + 1}}}", "flags.a: a flag is true or false"),
        (f"version: 1\nflags: {{a: {'x' * (MAX_FLAG_CHARS + 1)}}}", "flags.a: a flag is true"),
        ('version: 1\nflags: {a: "x\\ny"}', "flags.a: a flag is true or false"),
        ("version: 1\nflags: {a: true, a: true}", "'a' stands twice"),
        ("[]", "a document of flags is a map with a version"),
        (
            "version: 1\nflags:\n" + "".join(f"  f{n}: true\n" for n in range(MAX_FLAGS + 1)),
            f"flags: at most {MAX_FLAGS} entries allowed",
        ),
        (
            "version: 1\ncollections:\n"
            + "".join(f"  c{n}: shadow\n" for n in range(MAX_ROUTES + 1)),
            f"collections: at most {MAX_ROUTES} entries allowed",
        ),
        ("#" * (MAX_FLAGS_CHARS + 1), "longer than"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(text: str, said: str) -> None:
    """Bounded in every way, and no value of another kind is taken for one that fits."""
    with pytest.raises(FlagsError) as refused:
        read_flags(text, "f.yaml")
    assert said in str(refused.value)


def test_lines_without_effect_are_named() -> None:
    """A glob behind a wider one, and what is no collection."""
    flags, warnings = check_flags(GOOD, "f.yaml")
    assert flags.version == 7
    assert warnings == ["f.yaml:6:3: collections.fc_special*: never used: 'fc_*' comes before it"]
    _, warnings = check_flags("version: 1\ncollections: {'@': shadow}", "f.yaml")
    assert warnings == ["f.yaml:2:15: collections.@: '@' is no collection"]
