"""What people read when a document or arguments do not fit."""

from __future__ import annotations

from typing import Any

import pytest

from mallku_contracts.arguments import read_arguments
from mallku_contracts.errors import InvalidArguments
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.policy import PolicyError, read_policy
from mallku_contracts.revocation import RevocationError, RevocationList
from mallku_contracts.wording import did_you_mean

RULE = "{id: a, collections: [x], operations: [get]}"
PARTS = {
    "collections: [x]": ("collection: [x]", "did you mean 'collections'?"),
    "operations: [get]": ("operations: get", "roles.r.rules.0.operations: a list is expected"),
    "id: a": ("id: 7", "roles.r.rules.0.id: text is expected"),
    "[x], ": ("[], ", "collections: at least 1 entry needed"),
    "[get]}": ("[get], max_affected: 0}", "max_affected: at least 1 is expected"),
}
LIBRARY = ("Input", "input", "Field required", "Extra", "tuple", "pydantic", "should", "dictionary")


def _policy(rule: str = RULE, more: str = "", principal: str = "{roles: [r]}") -> str:
    return (
        f"version: 1\nroles:\n  r:\n    rules:\n      - {rule}\n"
        f"principals:\n  p: {principal}\n{more}"
    )


def _refused(text: str) -> str:
    with pytest.raises(PolicyError) as caught:
        read_policy(text, "p.yaml")
    return str(caught.value)


@pytest.mark.parametrize("part", PARTS)
def test_a_rule_that_does_not_fit_is_refused_in_our_words(part: str) -> None:
    """With the path, what is expected or likely meant, and no word of the library's."""
    wrong, said = PARTS[part]
    message = _refused(_policy(RULE.replace(part, wrong)))
    assert said in message
    assert not [word for word in LIBRARY if word in message], message


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (_policy(principal="{rolez: [r]}"), "'roles'"),
        (_policy(principal="{kinds: caller}"), "'kind'"),
        (_policy(more="colections: {}"), "'collections'"),
        (_policy(more="collections: {x: {audits: full}}"), "'audit'"),
        (_policy(RULE.replace("id: a", "id: a, filed: 1, wheree: {}")), "'where'"),
        (_policy().replace("    rules:", "    limits: {rate_pers: 1}\n    rules:"), "'rate_per_s'"),
    ],
)
def test_a_key_with_a_typo_gets_the_name_that_was_meant(text: str, hint: str) -> None:
    """At every depth: the model that stands there knows its keys."""
    assert f"there is no such key; did you mean {hint}?" in _refused(text)


def test_one_of_several_words_is_named_with_them() -> None:
    """Which words there are is said where one is expected."""
    message = _refused(_policy(principal="{kind: root}"))
    kinds = "'caller', 'inspector', 'auditor', 'administrator' or 'door'"
    assert f"principals.p.kind: {kinds}" in message


@pytest.mark.parametrize(
    ("operation", "arguments", "said"),
    [
        ("find", {"filter": {}}, "filter: there is no such key; did you mean 'filters'?"),
        ("find", {"limit": "7"}, "limit: a whole number is expected"),
        ("insert", {}, "document: it is missing"),
        ("insert", {"document": 1}, "document: a map is expected"),
    ],
)
def test_arguments_are_refused_in_the_same_words(
    operation: str, arguments: dict[str, Any], said: str
) -> None:
    """A caller reads what an administrator reads; the field stands in the details."""
    with pytest.raises(InvalidArguments) as caught:
        read_arguments(OPERATIONS[operation].arguments, arguments)
    assert caught.value.message == said
    assert caught.value.details == {"fields": dict([said.split(": ", 1)])}


def test_no_value_is_repeated() -> None:
    """What a caller put into a field does not come back in the refusal."""
    with pytest.raises(InvalidArguments) as caught:
        read_arguments(OPERATIONS["insert"].arguments, {"document": "hunter2", "x": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_a_revocation_list_too() -> None:
    """JSON that a person may have written."""
    with pytest.raises(RevocationError, match="did you mean 'reason'"):
        RevocationList.from_text('{"revoked": {"p": {"reasn": "x", "since": 1, "reason": "x"}}}')


def test_a_hint_costs_nothing_for_what_no_name_can_be() -> None:
    """A key of a megabyte is not compared with anything."""
    assert did_you_mean("role" * 300_000, ["roles"]) == ""
