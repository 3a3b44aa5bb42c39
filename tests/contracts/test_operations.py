"""Operations, their arguments and their results: one table, closed models, named fields."""

from __future__ import annotations

import keyword
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mallku_contracts import arguments as a
from mallku_contracts import codec, results
from mallku_contracts.arguments import read_arguments
from mallku_contracts.errors import InvalidArguments
from mallku_contracts.operations import OPERATIONS, Access, Operation, Scope
from mallku_contracts.subjects import is_name
from tests.contracts.test_codec import PLAIN

ALL = [pytest.param(operation, id=name) for name, operation in OPERATIONS.items()]
NAMED = (
    "get get-many exists find count aql next outcome insert insert-many update update-many "
    "update-match replace replace-many replace-match upsert delete delete-many delete-match "
    "transaction create-collection drop-collection truncate list-collections describe-collection "
    "create-index drop-index list-indexes create-graph drop-graph list-graphs report-violation "
    "redrive describe-flags"
)


def refusal(model: type[a.Arguments], values: object) -> InvalidArguments:
    """What refuses the values."""
    with pytest.raises(InvalidArguments) as refused:
        read_arguments(model, values)
    return refused.value


def test_the_table_holds_exactly_the_promised_operations() -> None:
    """The names are the wire's vocabulary; none is missing and none was added in passing."""
    assert sorted(OPERATIONS) == sorted(NAMED.split())


@pytest.mark.parametrize("operation", ALL)
def test_an_operation_is_complete(operation: Operation) -> None:
    """Each has a name for the wire and one for Python, arguments, a result and a summary."""
    assert is_name(operation.name)
    method = operation.name.replace("-", "_")
    assert method.isidentifier()
    assert not keyword.iskeyword(method)
    assert issubclass(operation.arguments, a.Arguments)
    assert operation.arguments.__doc__
    assert operation.summary[0].isupper()
    assert not operation.summary.endswith(".")
    assert operation.mutates == (operation.access in {Access.WRITE, Access.ADMIN})
    assert isinstance(operation.scope, Scope)
    TypeAdapter(operation.result).json_schema()


def test_methods_are_as_distinct_as_names() -> None:
    """No two operations share a Python name."""
    methods = {name.replace("-", "_") for name in OPERATIONS}
    assert len(methods) == len(OPERATIONS)


@pytest.mark.parametrize("operation", ALL)
def test_unknown_arguments_are_refused_by_name(operation: Operation) -> None:
    """A misspelled argument is an error that names it, in every operation."""
    error = refusal(operation.arguments, {"documnet": {}})
    assert "documnet" in error.details["fields"]
    assert "documnet" in error.message


@pytest.mark.parametrize("operation", ALL)
@pytest.mark.parametrize("values", [None, [], "x", 5])
def test_arguments_are_a_map(operation: Operation, values: object) -> None:
    """A body of another kind is refused as a whole."""
    assert set(refusal(operation.arguments, values).details["fields"]) == {"arguments"}


@pytest.mark.parametrize(
    ("name", "values", "field"),
    [
        ("get", {}, "document"),
        ("get", {"document": 5}, "document"),
        ("get", {"document": "a", "check_rev": 1}, "check_rev"),
        ("get", {"document": "a", "check_rev": "true"}, "check_rev"),
        ("get-many", {"documents": ["a", 5]}, "documents.1"),
        ("get-many", {"documents": ["a"] * 10_001}, "documents"),
        ("insert", {"document": ["a"]}, "document"),
        ("insert", {"document": {}, "overwrite_mode": "other"}, "overwrite_mode"),
        ("insert-many", {"documents": [{}, "a"]}, "documents.1"),
        ("find", {"limit": -1}, "limit"),
        ("find", {"limit": 1.0}, "limit"),
        ("find", {"limit": True}, "limit"),
        ("find", {"skip": 10**18}, "skip"),
        ("find", {"sort": [{"sort_by": ""}]}, "sort.0.sort_by"),
        ("find", {"sort": [{"sort_by": "a", "sort_order": "asc"}]}, "sort.0.sort_order"),
        ("find", {"after": "k", "skip": 1}, "arguments"),
        ("upsert", {"filters": {"a": 1}, "insert": {}}, "arguments"),
        ("upsert", {"filters": {"a": 1}, "insert": {}, "update": {}, "replace": {}}, "arguments"),
        ("upsert", {"filters": {}, "insert": {}, "update": {}}, "filters"),
        ("outcome", {}, "arguments"),
        ("outcome", {"id": "a", "idempotency_key": "b"}, "arguments"),
        ("outcome", {"id": ""}, "id"),
        ("aql", {"query": ""}, "query"),
        ("create-index", {"fields": []}, "fields"),
        ("create-index", {"fields": ["a"], "type": "fulltext"}, "type"),
        ("transaction", {"steps": []}, "steps"),
    ],
)
def test_bad_input_names_the_field(name: str, values: dict[str, Any], field: str) -> None:
    """A wrong argument is refused with its path; nothing is converted."""
    error = refusal(OPERATIONS[name].arguments, values)
    assert list(error.details["fields"]) == [field]
    assert error.message.startswith(f"{field}: ")
    assert "Value error" not in error.message


def test_a_refusal_repeats_no_value() -> None:
    """What was in a document does not come back in an error."""
    error = refusal(a.Insert, {"document": "very private", "silent": "very private"})
    assert "very private" not in repr(error.to_wire())


def test_a_refusal_is_bounded() -> None:
    """Many wrong fields with endless names make a short error that packs."""
    values = {"document": {}, **{f"{number}-" + "x" * 5_000: 1 for number in range(60)}}
    error = refusal(a.Insert, values)
    assert len(error.details["fields"]) == a.MAX_NAMED_FIELDS
    assert "and 44 more" in error.message
    assert len(codec.pack(error.to_wire())) < 8_000


@given(st.sampled_from(sorted(OPERATIONS)), st.dictionaries(st.text(max_size=12), PLAIN))
def test_any_values_are_read_or_refused(name: str, values: dict[str, Any]) -> None:
    """Whatever a body holds gives a model or a coded error that crosses the wire."""
    try:
        model = read_arguments(OPERATIONS[name].arguments, values)
    except InvalidArguments as error:
        codec.pack(error.to_wire())
        return
    assert model.model_dump(exclude_unset=True).keys() <= values.keys()


def test_arguments_cannot_be_changed_after_they_were_checked() -> None:
    """A model is frozen, so that what was authorized is what is executed."""
    model = read_arguments(a.Get, {"document": "a"})
    with pytest.raises(ValueError, match="frozen"):
        model.document = "b"  # type: ignore[misc]


def test_defaults_are_python_arangos() -> None:
    """What python-arango does when it is not told, we do as well."""
    insert = read_arguments(a.Insert, {"document": {}})
    update = read_arguments(a.Update, {"document": {}})
    assert (insert.return_new, insert.silent, insert.overwrite) == (False, False, False)
    assert (update.check_rev, update.keep_none, update.merge) == (True, True, True)
    assert read_arguments(a.Find, {}).limit is None


def test_result_shapes_keep_arangodbs_names() -> None:
    """The attributes that begin with an underscore are there under exactly these names."""
    schema = TypeAdapter(results.DocumentMeta).json_schema()
    assert schema["required"] == ["_id", "_key", "_rev"]
    meta = {"_id": "c/k", "_key": "k", "_rev": "r", "new": {"a": 1}}
    assert TypeAdapter(results.DocumentMeta).validate_python(meta) == meta
    receipt = {"stream": "S", "sequence": 1, "hash": b"h"}
    assert TypeAdapter(results.Receipt).validate_python(receipt) == receipt


def test_more_arguments_than_any_operation_has_are_not_looked_at() -> None:
    """A map of many unknown names is refused by its size alone."""
    error = refusal(a.Insert, {str(number): 1 for number in range(a.MAX_ARGUMENTS + 1)})
    assert str(a.MAX_ARGUMENTS) in error.message


def test_filters_are_bounded_in_number_and_length() -> None:
    """Each one costs the store time for every document, so there are few of them."""
    few = {f"a{number}": None for number in range(a.MAX_FILTERS)}
    assert len(a.read_arguments(a.Count, {"filters": few}).filters) == a.MAX_FILTERS
    for filters in (few | {"more": None}, {"x" * 513: 1}, {"": 1}):
        assert "filters" in str(refusal(a.Count, {"filters": filters}))


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (a.Transaction, {"steps": [dict.fromkeys(map(str, range(a.MAX_ARGUMENTS + 1)))]}),
        (a.Transaction, {"steps": [1] * 5_000}),
        (a.CreateGraph, {"name": "g", "orphan_collections": [1] * 5_000}),
        (a.CreateGraph, {"name": "g", "edge_definitions": [{"x": 1}] * 5_000}),
        (a.CreateGraph, {"name": "g", "orphan_collections": ["a"] * (a.MAX_GRAPH_COLLECTIONS + 1)}),
        (a.Find, {"sort": [dict.fromkeys(map(str, range(a.MAX_ARGUMENTS + 1)))]}),
    ],
)
def test_wrong_lists_are_complained_of_once(
    model: type[a.Arguments], values: dict[str, Any]
) -> None:
    """Each error costs as much as a document: a list of wrong things is not gone through."""
    with pytest.raises(InvalidArguments) as refused:
        read_arguments(model, values)
    assert len(refused.value.details["fields"]) <= 4
    assert "; and " not in refused.value.message
