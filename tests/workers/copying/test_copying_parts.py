"""The parts of a copy: sides, states, digests."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from mallku_contracts.errors import (
    ConfigurationError,
    MallkuError,
)
from mallku_workers.stores.copying import (
    StateFile,
    open_source,
    open_target,
    read_spec,
)
from mallku_workers.stores.copying.documents import digest
from tests.support.simulated_arango import SimulatedArango
from tests.workers.copying.copies import NOBODY, embedded


async def test_wrong_credentials_and_missing_databases(
    tmp_path: Path, server: SimulatedArango
) -> None:
    """Neither side is opened with a wrong password, or where there is no database."""
    server.users["root"] = "another"
    arango = read_spec(f"arango:{server.url}")
    for opened in (open_source, open_target):
        with pytest.raises(ConfigurationError, match="does not believe"):
            await AsyncExitStack().enter_async_context(opened(arango, NOBODY))
    server.users["root"] = ""
    missing = read_spec(f"arango:{server.url}#nowhere")
    for opened in (open_source, open_target):
        with pytest.raises(MallkuError, match="database"):
            await AsyncExitStack().enter_async_context(opened(missing, NOBODY))
    with pytest.raises(ConfigurationError, match="has no database mallku"):
        await AsyncExitStack().enter_async_context(open_source(embedded(tmp_path, "no"), NOBODY))
    assert not (tmp_path / "no").exists()


def test_a_state_belongs_to_one_copy_and_one_process(tmp_path: Path) -> None:
    """Another copy's state, somebody else's file and a copy that is under way are refused."""
    path = tmp_path / "state"
    with StateFile(path, "a", "b") as file:
        file.progress("people")
        file.save()
        second = StateFile(path, "a", "b")
        with pytest.raises(ConfigurationError, match="under way"):
            second.__enter__()
    with pytest.raises(ConfigurationError, match="belongs to a copy from a to b"):
        StateFile(path, "a", "c")
    path.write_text("{}")
    with pytest.raises(ConfigurationError, match="not the state of a copy"):
        StateFile(path, "a", "b")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"n": 1.0, "b": 2}, {"b": 2, "n": 1}),
        ({"n": -0.0}, {"n": 0}),
        ({"n": 1e300}, {"n": int(1e300)}),
        ({"n": [{"m": 5e16}]}, {"n": [{"m": 50_000_000_000_000_000}]}),
        ({"n": 2**64 + 1}, {"n": float(2**64)}),
        ({"_id": "a/1", "_rev": "x", "n": "1.0"}, {"_id": "b/1", "n": "1.0"}),
    ],
)
def test_the_same_document_has_one_digest(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Order of attributes, spelling of numbers, `_id` and `_rev` make no difference."""
    assert digest(one) == digest(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"n": 1}, {"n": "1"}),
        ({"n": "1.0"}, {"n": "1"}),
        ({"n": None}, {}),
        ({"n": True}, {"n": 1}),
        ({"n": 2**53}, {"n": 2**53 + 1}),
        ({"n": [1, 2]}, {"n": [2, 1]}),
        ({"_key": "a"}, {"_key": "b"}),
    ],
)
def test_other_documents_have_another_digest(one: dict[str, Any], other: dict[str, Any]) -> None:
    """What a reader could tell apart, the digest does."""
    assert digest(one) != digest(other)


@pytest.mark.parametrize(
    "text", ["", "x", "embedded:", "mongo:x", "embedded:x#a/b", "arango:http://h#_system"]
)
def test_what_is_no_side_is_refused(text: str) -> None:
    """A side is a store, a place and a database's name that belongs to callers."""
    with pytest.raises(ConfigurationError):
        read_spec(text)


def test_a_side_has_one_spelling(tmp_path: Path) -> None:
    """However it was written, the same database is the same side, so that a copy can go on."""
    assert str(read_spec(f"embedded:{tmp_path}")) == f"embedded:{tmp_path}#mallku"
    assert str(read_spec("arango:http://h:1/#d")) == "arango:http://h:1#d"
