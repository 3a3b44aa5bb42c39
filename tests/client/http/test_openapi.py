"""The description of the API holds: generated requests find no surprise, and nothing breaks."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from typing import Any

import httpx
import pytest

from mallku_client.http.problems import STATUS
from mallku_contracts.errors import BY_CODE
from tests.client.http.stage import SECRET

pytestmark = pytest.mark.asyncio(loop_scope="module")
EXAMPLES = 5
"""Generated requests of each kind for one operation: a bound, for the time that it takes."""

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)


@pytest.mark.timeout(180)
async def test_generated_requests_find_nothing(url: str, tmp_path: Path) -> None:
    """Whatever fits the description, and much that does not, is answered as described; no 5xx."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
        *("--header", f"Authorization: Bearer {SECRET}", "--checks", ",".join(CHECKS)),
        *("--max-examples", str(EXAMPLES), "--seed", "1", "--phases", "examples,coverage,fuzzing"),
        *("--workers", "1", "--no-color", "--generation-database", "none"),
        cwd=tmp_path,
        stdout=PIPE,
        stderr=STDOUT,
        env=os.environ | {"SCHEMATHESIS_COVERAGE": "0"},
    )
    said = (await process.communicate())[0].decode("utf-8", "replace")
    assert process.returncode == 0, said[-8_000:]
    assert "generated" in said


async def test_every_path_has_its_problems_and_who_may_ask(http: httpx.AsyncClient) -> None:
    """Each operation names the errors of every status, and how callers show who they are."""
    schema = (await http.get("/openapi.json")).json()
    assert schema["info"]["title"] == "Mallku gateway"
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            if path.startswith("/api/"):
                assert {"401", "403", "429", "503"} <= operation["responses"].keys(), path
                assert operation["security"] == [{"dpop": []}, {"service": []}]
    assert "HTTPValidationError" not in schema["components"]["schemas"]
    assert any(_examples(schema))


async def test_every_error_has_a_status() -> None:
    """The table of statuses has each code of the tree, and no other."""
    assert set(STATUS) == set(BY_CODE)


def _examples(value: Any) -> list[Any]:
    if isinstance(value, dict):
        own = value.get("examples", [])
        return [*own, *(each for item in value.values() for each in _examples(item))]
    if isinstance(value, list):
        return [each for item in value for each in _examples(item)]
    return []
