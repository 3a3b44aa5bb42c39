"""Names of secured fields that others told of: learned where they are met, and asked for seldom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

import pytest

from mallku_client.mallku import registry as registry_module
from mallku_client.mallku.gateway import Gateway
from mallku_client.mallku.interface import SecuredDatabaseInterface
from mallku_client.mallku.plain import PlainDatabase
from mallku_client.mallku.registry import RegistryStore, SecurityRegistry


@dataclass
class Cursor:
    """Documents, all of them at once."""

    documents: list[dict[str, str]]

    async def all(self) -> list[dict[str, str]]:
        """All of them."""
        return self.documents


class Told:
    """A gateway whose registry others write; counts how often it is read."""

    def __init__(self) -> None:
        self.documents: list[dict[str, str]] = []
        self.reads = 0

    async def collection(self, _name: str) -> Told:
        """The registry's."""
        return self

    def all(self) -> Cursor:
        """Everything that was told."""
        self.reads += 1
        return Cursor(list(self.documents))

    def tell(self, name: str) -> str:
        """Have somebody use a name for the first time; its UUID."""
        field = SecurityRegistry().get_or_create_mapping(name)
        self.documents.append({"semantic_name": name, "field_uuid": field})
        return field


@pytest.fixture
def told() -> Told:
    """Nothing was told yet."""
    return Told()


def store_of(told: Told) -> RegistryStore:
    """Where names come from."""
    return RegistryStore(cast("Gateway", told))


@pytest.mark.parametrize(
    "put",
    [
        lambda field: {field: 1},
        lambda field: {"row": {field: 1}},
        lambda field: [{"n": 1}, [{"deep": [{field: 1}]}]],
    ],
)
async def test_a_name_told_later_is_learned_at_every_depth(
    told: Told, put: Callable[[str], Any]
) -> None:
    """Wherever in a value the first of its fields is met."""
    registry, store = SecurityRegistry(), store_of(told)
    await store.know(registry, {"n": 1})
    field = told.tell("kind")
    await store.know(registry, put(field))
    assert registry.semantic(put(field)) == put("kind")


async def test_names_of_a_page_are_read_once(told: Told) -> None:
    """However many of its rows have fields that nobody knows here."""
    gateway = cast("Gateway", told)
    database = SecuredDatabaseInterface(PlainDatabase(gateway))
    assert await database.semantic_rows([{"n": 1}]) == [{"n": 1}]
    fields = {told.tell(f"field{n}"): n for n in range(20)}
    rows = [{"in": {field: n}} for field, n in fields.items()]
    told.reads = 0
    assert await database.semantic_rows(rows) == [{"in": {f"field{n}": n}} for n in range(20)]
    assert told.reads == 1
    nameless = [{str(uuid4()): n} for n in range(20)]
    for _ in range(3):
        assert await database.semantic_rows(nameless) == nameless
    assert told.reads == 2


async def test_more_without_names_than_are_remembered_are_asked_for_seldom(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at each look; what is told meanwhile is learned all the same, a little later."""
    now = [1_000.0]
    monkeypatch.setattr(registry_module, "MAX_NAMELESS", 3)
    monkeypatch.setattr(registry_module, "monotonic", lambda: now[0])
    registry, store = SecurityRegistry(), store_of(told)
    for _ in range(10):
        await store.know(registry, [{str(uuid4()): 1} for _ in range(5)])
    assert told.reads == 2
    field = told.tell("kind")
    await store.know(registry, {field: 1})
    assert registry.get_semantic_name(field) is None
    now[0] += 60.0
    await store.know(registry, {field: 1})
    assert registry.get_semantic_name(field) == "kind"
