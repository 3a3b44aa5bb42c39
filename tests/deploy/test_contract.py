"""The contract is valid, whole, and says what the gateway does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from mallku_contracts.arguments import read_arguments
from mallku_contracts.codec import unpack
from mallku_contracts.errors import BY_CODE, InvalidArguments, from_wire
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.subjects import CommandSubject, audit_subject, read_cancel_subject
from mallku_deploy.contract import FILES, asyncapi_document, html_page, schemas_document
from mallku_deploy.contract.examples import EXAMPLES, example

ROOT = Path(__file__).resolve().parents[2]
STANDARD = json.loads((ROOT / "tests/support/asyncapi/3.0.0.json").read_text("utf-8"))
VECTORS = json.loads((ROOT / "tests/vectors/commands.json").read_text("utf-8"))
DOCUMENT = asyncapi_document()
SCHEMAS = schemas_document()
NAMES = sorted(OPERATIONS)
VOID = ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source")


def test_asyncapis_own_schema_accepts_it() -> None:
    """The document is AsyncAPI 3.0.0."""
    assert list(Draft7Validator(STANDARD).iter_errors(DOCUMENT)) == []


def _without_address(document: dict[str, Any]) -> None:
    document["channels"]["insert"]["address"] = 7


def _unknown_action(document: dict[str, Any]) -> None:
    document["operations"]["insert"]["action"] = "listen"


def _unknown_key(document: dict[str, Any]) -> None:
    document["components"]["messages"]["insert.command"]["body"] = {}


def _no_title(document: dict[str, Any]) -> None:
    del document["info"]["title"]


@pytest.mark.parametrize("break_it", [_without_address, _unknown_action, _unknown_key, _no_title])
def test_it_would_notice_a_wrong_one(break_it: Callable[[dict[str, Any]], None]) -> None:
    """The schema is no rubber stamp."""
    document = deepcopy(DOCUMENT)
    break_it(document)
    assert list(Draft7Validator(STANDARD).iter_errors(document))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _references(each)
    elif isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from _references(each)


def _resolve(document: Any, reference: str) -> Any:
    assert reference.startswith("#/")
    for step in reference[2:].split("/"):
        document = document[step]
    return document


@pytest.mark.parametrize("document", [DOCUMENT, SCHEMAS], ids=["asyncapi", "schemas"])
def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """Nothing is named that is not there, in either document."""
    references = set(_references(document))
    assert len(references) > 40
    for reference in references:
        assert _resolve(document, reference) is not None


def test_every_operation_is_in_it() -> None:
    """The table, all of it, and nothing else but the trail."""
    assert set(SCHEMAS["operations"]) == set(OPERATIONS)
    known = {name.removesuffix(".job") for name in DOCUMENT["operations"]}
    assert known == {*OPERATIONS, "audit", "cancel", "checkpoints"}
    assert set(EXAMPLES) <= set(OPERATIONS)


@pytest.mark.parametrize("channel", sorted(DOCUMENT["channels"]))
def test_addresses_are_those_of_the_code(channel: str) -> None:
    """A channel's address, filled in, is a subject that the gateway reads as that operation."""
    address = DOCUMENT["channels"][channel]["address"]
    names = DOCUMENT["channels"][channel]["parameters"]
    filled = address.format(**dict.fromkeys(names, "x"))
    if channel == "audit":
        assert filled.rpartition(".")[0] == audit_subject(
            CommandSubject("x", "x", "x", "x"), "done"
        ).removesuffix(".done")
    elif channel == "cancel":
        assert read_cancel_subject(filled) == ("x", "x")
    elif channel not in {"checkpoints", "replies"}:
        assert CommandSubject.parse(filled).operation == channel.removesuffix(".job")


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_is_one_and_accepts_its_example(name: str) -> None:
    """The example passes the schema, and the model that workers validate by."""
    operation = SCHEMAS["operations"][name]
    for part in ("arguments", "result"):
        schema = {"$defs": SCHEMAS["$defs"], **operation[part]}
        Draft202012Validator.check_schema(schema)
    schema = {"$defs": SCHEMAS["$defs"], **operation["arguments"]}
    assert list(Draft202012Validator(schema).iter_errors(example(name))) == []
    read_arguments(OPERATIONS[name].arguments, example(name))


WRONG: list[Any] = [{"nonsense": 1}, [], "text", 7, {"document": 7}, {"documents": "k"}]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("values", WRONG, ids=repr)
def test_a_schema_refuses_what_the_model_refuses(name: str, values: Any) -> None:
    """Unknown names, other types: schema and model agree."""
    schema = {"$defs": SCHEMAS["$defs"], **SCHEMAS["operations"][name]["arguments"]}
    refused = bool(list(Draft202012Validator(schema).iter_errors(values)))
    try:
        read_arguments(OPERATIONS[name].arguments, values)
    except InvalidArguments:
        assert refused
    else:
        assert not refused


def test_bodies_of_the_vectors_pass() -> None:
    """What other implementations are tested with fits the schemas."""
    checked = 0
    for vector in VECTORS["cases"]:
        name = vector["header"]["op"]
        body = unpack(bytes.fromhex(vector["body"]))
        schema = {"$defs": SCHEMAS["$defs"], **SCHEMAS["operations"][name]["arguments"]}
        assert list(Draft202012Validator(schema).iter_errors(body)) == []
        checked += 1
    assert checked


def test_every_error_is_in_it() -> None:
    """Codes and numbers of the tree, and an error as it crosses the wire fits its schema."""
    error = SCHEMAS["$defs"]["Error"]
    assert {each["code"]: each["number"] for each in error["x-codes"]} == {
        code: kind.number for code, kind in BY_CODE.items()
    }
    validator = Draft202012Validator(error)
    for code, kind in BY_CODE.items():
        wire = kind("what", retry_after=1.5, details={"a": 1}, correlation="c").to_wire()
        assert list(validator.iter_errors(wire)) == [], code
        assert from_wire(wire).code


class _Page(HTMLParser):
    """Which elements stand open, which names there are, and what is linked."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember it."""
        values = {name: value or "" for name, value in attrs}
        self.open += [] if tag in VOID else [tag]
        self.names |= {values["id"]} if "id" in values else set()
        self.links += [values["href"]] if "href" in values else []
        self.loads += [values["src"]] if "src" in values else []

    def handle_endtag(self, tag: str) -> None:
        """Each end belongs to what was opened last."""
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing() -> None:
    """Well-formed; every link leads somewhere; no script, and nothing from elsewhere."""
    page = _Page()
    text = html_page()
    page.feed(text)
    assert page.open == []
    assert page.loads == []
    assert "<script" not in text
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.names
    assert {link for link in page.links if not link.startswith("#")} == {
        FILES["asyncapi"],
        FILES["schemas"],
    }
    assert set(OPERATIONS) <= page.names


def test_the_command_writes_all_three(tmp_path: Path) -> None:
    """On standard output, or into a file."""
    command = [sys.executable, "-m", "mallku_deploy.entry", "contract"]
    shown = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout
    assert json.loads(shown) == DOCUMENT
    for form, name in FILES.items():
        target = tmp_path / name
        subprocess.run([*command, "--format", form, "-o", str(target)], check=True, timeout=30)
        assert target.stat().st_size > 10_000
    missing = subprocess.run(
        [*command, "-o", str(tmp_path / "no" / "where")], capture_output=True, check=False
    )
    assert missing.returncode == 1
    assert b"cannot write" in missing.stderr
