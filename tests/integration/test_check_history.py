"""`check-history` as users have it: a recorded client, a real gateway, the command line."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mallku_contracts.errors import MallkuError
from mallku_deploy.environment import write_env_file
from mallku_workers.stores.copying import Credentials, open_target, read_spec
from tests.integration.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _check(world: World, history: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Exit code and verdict."""
    files = []
    for principal in ("auditor", "mallku"):
        files.append(history.with_name(f"{principal}.env"))
        write_env_file(files[-1], world.house.environment(principal, world.gateway.url))
    command = [sys.executable, "-m", "mallku_deploy.entry", "check-history", str(history)]
    command += ["--env-file", str(files[0]), "--caller-env-file", str(files[1])]
    process = await asyncio.create_subprocess_exec(
        *command, "--json", "--settle", "20", *options, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(said)


@asynccontextmanager
async def _recorded(world: World, history: Path) -> AsyncGenerator[None]:
    async with world.client(history_file=history) as client:
        documents = client.collection("memory_anchors")
        for number in range(5):
            await documents.insert({"_key": f"k{number}", "n": number})
        await documents.update({"_key": "k1", "n": 7})
        await documents.get("k1")
        await documents.insert_many([{"n": 1}, {"n": 2}])
        await documents.delete("k2")
        await documents.get("k2")
        with pytest.raises(MallkuError):
            await documents.update({"_key": "k2"})
        async with world.client() as silent:  # keeps no history; the trail knows of it
            await silent.collection("memory_anchors").replace({"_key": "k3", "n": 9})
        await documents.get("k3")
        yield


async def test_an_honest_gateway_is_accused_of_nothing(own_world: World, tmp_path: Path) -> None:
    """Everything that was called is judged, against the trail, the ledger and the store."""
    history = tmp_path / "calls.jsonl"
    async with _recorded(own_world, history):
        code, verdict = await _check(own_world, history)
    assert (code, verdict["findings"]) == (0, [])
    assert verdict["calls"] == {"done": 11, "failed": 1}
    assert verdict["documents"] == verdict["looked"] == verdict["compared"] == 7
    code, verdict = await _check(own_world, history, "--store", f"embedded:{own_world.house.store}")
    assert (code, verdict["findings"]) == (0, [])


async def test_a_document_that_no_command_made_is_found_in_the_store(
    own_world: World, tmp_path: Path
) -> None:
    """An insert without a key was done twice, and nobody was told of the first one's key."""
    history, store = tmp_path / "calls.jsonl", f"embedded:{own_world.house.store}"
    async with _recorded(own_world, history), open_target(read_spec(store), Credentials()) as side:
        doubled = await side.ask("insert", "memory_anchors", document={"n": 1})
    code, verdict = await _check(own_world, history, "--store", store)
    assert code == 1
    [finding] = verdict["findings"]
    assert (finding["kind"], finding["about"]) == ("store-differs", doubled["_id"])


async def test_a_stale_read_is_found(own_world: World, tmp_path: Path) -> None:
    """A history in which a read shows what had been written over; exit code 1."""
    history = tmp_path / "calls.jsonl"
    async with _recorded(own_world, history):
        lines = [json.loads(line) for line in history.read_text().splitlines()]
    inserted = next(line for line in lines if (line.get("result") or {}) and line["call"] == 2)
    [read] = [line for line in lines if line["event"] == "end" and line["call"] == 7]
    read["result"] |= {"_rev": inserted["result"]["_rev"], "n": 1}
    history.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, verdict = await _check(own_world, history, "--skew", "0")
    assert code == 1
    assert [finding["kind"] for finding in verdict["findings"]] == ["not-linearizable"]
    assert verdict["findings"][0]["about"] == "memory_anchors/k1"
