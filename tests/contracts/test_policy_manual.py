"""The manual's example is a policy, and decides what the manual says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mallku_contracts.errors import AuthorizationError, InvalidDocument
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.policy import CompiledPolicy, DocumentRules, Grant, check_policy
from mallku_contracts.policy.where import _COMPARED
from mallku_contracts.subjects import CommandSubject

MANUAL = (Path(__file__).resolve().parents[2] / "docs" / "policy.md").read_text("utf-8")
NOW_MS = 1_700_000_000_000


def block(name: str) -> str:
    """The YAML block of the manual that begins with a comment of this name."""
    found = re.findall(rf"```yaml\n# {name}\n(.*?)```", MANUAL, re.DOTALL)
    assert len(found) == 1
    return str(found[0])


POLICY, WARNINGS = check_policy(block("policy"), "docs/policy.md")
COMPILED = CompiledPolicy(POLICY)
CASES: list[dict[str, Any]] = yaml.safe_load(block("cases"))


def decide(case: dict[str, Any]) -> Grant:
    """The policy's answer to one case."""
    operation, collection = case["does"].split()
    subject = CommandSubject(case["who"], "main", collection, operation)
    held = frozenset(case.get("holds", POLICY.roles))
    issuer = case.get("issuer", "circle")
    return COMPILED.decide(subject, OPERATIONS[operation], roles=held, issuer=issuer)


def documents(case: dict[str, Any]) -> DocumentRules:
    """What holds for the documents of one case."""
    rules = decide(case).bind(case["who"], NOW_MS)
    assert rules is not None
    return rules


def cases(key: str) -> list[Any]:
    """Those cases that say something about `key`."""
    found = [case for case in CASES if key in case]
    assert found
    return [pytest.param(case, id=f"{case['who']} {case['does']}") for case in found]


def test_the_example_is_meant_as_it_stands() -> None:
    """`policy check` has nothing to say about the example."""
    assert WARNINGS == []


@pytest.mark.parametrize("case", cases("by"))
def test_the_example_allows_what_it_says(case: dict[str, Any]) -> None:
    """The rule that the manual names is the one that decides."""
    assert decide(case).rule == case["by"]


@pytest.mark.parametrize("case", cases("refused"))
def test_the_example_refuses_what_it_says(case: dict[str, Any]) -> None:
    """What the manual calls refused is, with the words it quotes."""
    with pytest.raises(AuthorizationError, match=case["refused"]):
        decide(case)


@pytest.mark.parametrize("case", cases("shows"))
def test_the_example_shows_and_conceals_documents(case: dict[str, Any]) -> None:
    """The documents that exist for the caller are those of the manual."""
    where = documents(case).where
    assert where is not None
    assert all(map(where.matches, case["shows"]))
    assert not any(map(where.matches, case["conceals"]))


@pytest.mark.parametrize("case", cases("forces"))
def test_the_example_forces_fields(case: dict[str, Any]) -> None:
    """The fields that every new version gets are those of the manual."""
    assert documents(case).forced == case["forces"]


@pytest.mark.parametrize("case", cases("accepts"))
def test_the_example_describes_documents(case: dict[str, Any]) -> None:
    """The schema lets in and turns away what the manual says."""
    schema = documents(case).schema
    assert schema is not None
    for document in case["accepts"]:
        schema.check(document)
    for document in case["rejects"]:
        with pytest.raises(InvalidDocument):
            schema.check(document)


def test_the_manual_names_every_key() -> None:
    """No operator, and no key of a rule, a collection or the limits, is left out of the manual."""
    role = POLICY.roles["voice"]
    described = {*_COMPARED, *type(role.limits).model_fields, *type(role.rules[0]).model_fields}
    collection = next(iter(POLICY.collections.values()))
    described |= {info.alias or name for name, info in type(collection).model_fields.items()}
    described |= set(type(POLICY).model_fields)
    assert {name for name in described if f"`{name}" not in MANUAL} - {"id", "version"} == set()
