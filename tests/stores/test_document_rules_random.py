"""Random documents, rules and operations: nothing leaks, and nothing leaves its rule."""

from __future__ import annotations

import itertools
from typing import Any, Final

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from mallku_contracts.errors import MallkuError
from mallku_contracts.policy import DocumentRules
from tests.stores.calling import Caller
from tests.stores.ruled import Held, everything, held, make_rules

KEYS: Final = ("a", "b", "c", "d")
OWNERS: Final = ("me", "you")
_numbers = itertools.count(1)

NUMBERS = st.integers(0, 2)
PLAIN = st.fixed_dictionaries(
    {},
    optional={
        "owner": st.sampled_from((*OWNERS, None)),
        "n": NUMBERS,
        "box": st.fixed_dictionaries({}, optional={"n": NUMBERS, "m": NUMBERS}),
        "items": st.lists(st.fixed_dictionaries({}, optional={"n": NUMBERS}), max_size=2),
    },
)
"""What anybody may write, with nothing in it that a rule below hides."""

SECRETS = st.fixed_dictionaries(
    {},
    optional={
        "token": st.none(),
        "box": st.fixed_dictionaries({"pin": st.none()}, optional={"n": NUMBERS}),
        "items": st.lists(
            st.fixed_dictionaries({}, optional={"pin": st.none(), "n": NUMBERS}), max_size=3
        ),
    },
)
"""What only the owner of the house writes; each None becomes a secret of its own."""

CONDITIONS = st.recursive(
    st.sampled_from(
        [
            {"owner": "me"},
            {"owner": {"in": ["me", None]}},
            {"n": {"<": 2}},
            {"n": {"exists": True}},
            {"box.n": {"!=": 1}},
            {"owner": "me", "n": {">=": 1}},
        ]
    ),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"not": inner}),
        st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"all": st.lists(inner, min_size=1, max_size=2)}),
    ),
    max_leaves=3,
)
RULES = st.builds(
    make_rules,
    where=st.one_of(CONDITIONS, CONDITIONS, CONDITIONS, st.none()),
    hidden=st.lists(st.sampled_from(["token", "box.pin", "items.pin"]), unique=True),
    forced=st.sampled_from([{}, {}, {"owner": "me"}, {"n": 1}, {"seal": [1, None]}]),
    max_affected=st.sampled_from([None, None, None, 1, 2]),
    immutable=st.sampled_from([False] * 5 + [True]),
)


def _fill(value: Any) -> Any:
    """The same with a text never used before in the place of each None below the top."""
    if isinstance(value, dict):
        return {name: _fill(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_fill(item) for item in value]
    return f"secret-{next(_numbers)}." if value is None else value


@st.composite
def seeds(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Documents that are there at first, each with a tag and secrets of its own."""
    keys = draw(st.lists(st.sampled_from(KEYS), unique=True, min_size=3))
    return [
        {
            "_key": key,
            **draw(PLAIN),
            **_fill(draw(SECRETS)),
            "tag": f"tag-{next(_numbers)}.",
        }
        for key in keys
    ]


PLACES = ["_key", "owner", "n", "box.n", "token", "box", "box.pin", "items", "tag"]
WANTED = st.none() | NUMBERS | st.just("me")
FILTERS = st.dictionaries(st.sampled_from(PLACES), WANTED, max_size=2)
A_FILTER = st.dictionaries(st.sampled_from(PLACES), WANTED, min_size=1, max_size=2)
BODIES = PLAIN | st.builds(lambda one, other: one | other, PLAIN, SECRETS)
NAMED = st.builds(lambda key, body: {**body, "_key": key}, st.sampled_from(KEYS), BODIES)
MERGING: dict[str, Any] = {"keep_none": st.booleans(), "merge": st.booleans()}
SHOWING: dict[str, Any] = {"return_new": st.booleans(), "return_old": st.booleans()}
OVERWRITING: dict[str, Any] = {
    "overwrite": st.booleans(),
    "overwrite_mode": st.sampled_from([None, "ignore", "replace", "update", "conflict"]),
}
SORTS = st.lists(
    st.sampled_from(PLACES).map(lambda name: {"sort_by": name, "sort_order": "DESC"}), max_size=2
)


def _call(name: str, **arguments: Any) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.tuples(st.just(name), st.fixed_dictionaries(arguments))


KEYS_OF = st.sampled_from(KEYS)
SEVERAL = st.lists(KEYS_OF, max_size=4)
LIMIT = st.none() | st.integers(0, 2)
CALLS = st.one_of(
    _call("get", document=KEYS_OF),
    _call("exists", document=KEYS_OF),
    _call("get-many", documents=SEVERAL),
    _call("find", filters=FILTERS, sort=SORTS, skip=NUMBERS, limit=LIMIT),
    _call("find", filters=FILTERS, batch_size=st.integers(1, 3)),
    _call("count", filters=FILTERS),
    _call("insert", document=NAMED | BODIES, **SHOWING, **OVERWRITING, **MERGING),
    _call("insert-many", documents=st.lists(NAMED, max_size=3), **SHOWING, **OVERWRITING),
    _call("update", document=NAMED, **SHOWING, **MERGING),
    _call("update-many", documents=st.lists(NAMED, max_size=3), **SHOWING, **MERGING),
    _call("update-match", filters=FILTERS, body=BODIES, limit=LIMIT, **MERGING),
    _call("replace", document=NAMED, **SHOWING),
    _call("replace-many", documents=st.lists(NAMED, max_size=3), **SHOWING),
    _call("replace-match", filters=FILTERS, body=BODIES, limit=LIMIT),
    _call(
        "upsert",
        filters=A_FILTER,
        insert=NAMED | BODIES,
        update=BODIES,
        **SHOWING,
        **MERGING,
    ),
    _call("upsert", filters=A_FILTER, insert=BODIES, replace=BODIES, **SHOWING),
    _call("delete", document=KEYS_OF, return_old=st.booleans(), ignore_missing=st.booleans()),
    _call("delete-many", documents=SEVERAL, return_old=st.booleans()),
    _call("delete-match", filters=FILTERS, limit=LIMIT),
    _call("truncate"),
    _call("describe-collection"),
)


async def _answer(mine: Held, operation: str, arguments: dict[str, Any]) -> tuple[str, bool]:
    """Everything that the caller is told, and whether it was a refusal."""
    try:
        return repr(await mine(operation, **arguments)), False
    except MallkuError as refusal:
        event(f"{operation}: {refusal.code}")
        return repr(refusal.to_wire()), True


def _texts(value: Any, mark: str) -> set[str]:
    """The secrets or tags in a document."""
    if isinstance(value, dict):
        return set[str]().union(*(_texts(item, mark) for item in value.values()))
    if isinstance(value, list):
        return set[str]().union(*(_texts(item, mark) for item in value))
    return {value} if isinstance(value, str) and value.startswith(mark) else set()


def _is_seen(rules: DocumentRules, document: dict[str, Any]) -> bool:
    return rules.where is None or rules.where.matches(document)


def _hidden(rules: DocumentRules, document: dict[str, Any]) -> set[str]:
    """The secrets that the rules hide in a document."""
    return _texts(document, "secret-") - _texts(rules.conceal(document), "secret-")


@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(documents=seeds(), rules=RULES, calls=st.lists(CALLS, min_size=5, max_size=8))
async def test_nothing_leaks_and_nothing_leaves_its_rule(
    people: Caller,
    documents: list[dict[str, Any]],
    rules: DocumentRules,
    calls: list[tuple[str, dict[str, Any]]],
) -> None:
    """Whatever somebody under rules asks, in whatever order.

    No answer holds anything of a document that is not to be seen, nor a hidden value of one that
    is. A document that is not to be seen stays as it is, to its revision. What changed meets the
    rule, has the forced values, and the hidden ones that it had before.
    """
    await people("truncate")
    await people("insert-many", documents=documents)
    mine = held(people, rules)
    for operation, arguments in calls:
        before = await everything(people)
        answer, is_refused = await _answer(mine, operation, arguments)
        after = await everything(people)
        _check_answer(rules, before, answer)
        if is_refused:
            assert after == before
        _check_stored(rules, before, after)
        await _check_view(mine, after)


async def _check_view(mine: Held, stored: dict[str, Any]) -> None:
    """What is shown of the collection is exactly what is to be seen of it."""
    seen = {key: one for key, one in stored.items() if _is_seen(mine.rules, one)}
    shown = [mine.rules.conceal(document) for document in seen.values()]
    assert (await mine("find"))["documents"] == shown
    assert await mine("count") == len(seen)
    assert await mine("get-many", documents=list(stored)) == shown
    for n in range(3):
        equal = [document for document in seen.values() if document.get("n") == n]
        assert await mine("count", filters={"n": n}) == len(equal)
        page = await mine("find", filters={"n": n}, skip=1, batch_size=1)
        assert [one["_key"] for one in page["documents"]] == [d["_key"] for d in equal[1:2]]
        assert page["more"] == (len(equal) > 2)
    for key in stored:
        assert await mine("exists", document=key) == (key in seen)


def _check_answer(rules: DocumentRules, before: dict[str, Any], answer: str) -> None:
    for document in before.values():
        for secret in _hidden(rules, document):
            assert secret not in answer
        if not _is_seen(rules, document):
            for own in (document["_rev"], *_texts(document, "tag-"), *_texts(document, "secret-")):
                assert own not in answer


def _check_stored(rules: DocumentRules, before: dict[str, Any], after: dict[str, Any]) -> None:
    changed = [key for key in before if after.get(key) != before[key]]
    assert all(_is_seen(rules, before[key]) for key in changed)
    assert not (changed and rules.immutable)
    written = {key: new for key, new in after.items() if new != before.get(key)}
    touched = len(set(changed) | set(written))
    assert rules.max_affected is None or touched <= rules.max_affected
    for key, new in written.items():
        assert _is_seen(rules, new)
        assert {name: new.get(name) for name in rules.forced} == rules.forced
        assert _hidden(rules, new) == _hidden(rules, before.get(key, {}))
