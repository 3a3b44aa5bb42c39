"""The names of secured fields: each has one UUID, the same in every process and for ever.

The UUID follows from the name (UUID version 5, as Mallku's own registry has it), so that first uses
at the same moment agree without asking each other. What follows from nothing is the way back: the
names that were used stand in the collection `security_registry_data`, a document for each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_DNS, uuid5

from mallku_contracts.errors import CollectionNotFound, InvalidArguments

if TYPE_CHECKING:
    from mallku_client.mallku.gateway import Gateway

COLLECTION: Final = "security_registry_data"
MAX_NAME_CHARS: Final = 512
"""A field's name, characters."""

MAX_NAMELESS: Final = 10_000
"""UUIDs without a name that are remembered, so that nobody asks for each of them again."""

_LOOKS_AGAIN_S: Final = 60.0
"""How often names are asked for at most once as many are remembered to have none, seconds."""

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_field_uuid(name: str) -> bool:
    """Whether a field is named as secured ones are."""
    return _UUID.fullmatch(name) is not None


class SecurityRegistry:
    """Field names and their UUIDs; any thread may ask.

    There is no lock, which a fork could leave taken: each step is one that the interpreter makes
    whole, and whoever comes first to a name does the same as whoever comes second.

    Args:
        known: Names and UUIDs to begin with.
    """

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._mappings: dict[str, str] = dict(known or {})
        self._names: dict[str, str] = {each: name for name, each in self._mappings.items()}
        self._unsaved: set[str] = set(self._mappings)
        self._configurations: dict[str, Any] = {}
        self._temporal: Any = None

    def __len__(self) -> int:
        return len(self._mappings)

    def get_or_create_mapping(self, semantic_name: str, security_config: Any = None) -> str:
        """The UUID of a field; one that is new is told to others before a document has it.

        Raises:
            InvalidArguments: that is no name.
        """
        if not 0 < len(semantic_name) <= MAX_NAME_CHARS:
            raise InvalidArguments(f"{semantic_name!r:.80} is no name of a field")
        if security_config is not None:
            self._configurations[semantic_name] = security_config
        found = self._mappings.get(semantic_name)
        if found is None:
            found = str(uuid5(NAMESPACE_DNS, semantic_name))
            self._unsaved.add(semantic_name)
            self._remember(semantic_name, found)
        return found

    def uuid_of(self, semantic_name: str) -> str:
        """The UUID that a field has or would have; nobody is told of it."""
        return self._mappings.get(semantic_name) or str(uuid5(NAMESPACE_DNS, semantic_name))

    def get_semantic_name(self, field_uuid: str) -> str | None:
        """The name of the field that a UUID stands for, None where nobody used it yet."""
        return self._names.get(field_uuid)

    def get_security_config(self, semantic_name: str) -> Any:
        """What a model said about a field, None where none did."""
        return self._configurations.get(semantic_name)

    def update_security_config(self, semantic_name: str, security_config: Any) -> None:
        """Keep what is said about a field; `ValueError` for one that has no mapping."""
        if semantic_name not in self._mappings:
            raise ValueError(f"No mapping exists for field: {semantic_name}")
        self._configurations[semantic_name] = security_config

    def get_temporal_config(self) -> Any:
        """What `set_temporal_config` was given; values stay as they are here."""
        return self._temporal

    def set_temporal_config(self, config: Any) -> None:
        """Keep a configuration for whoever asks."""
        self._temporal = config

    def export_mappings(self) -> dict[str, Any]:
        """Everything in the form that `from_export` reads."""
        mappings = {
            name: {"semantic_name": name, "field_uuid": each}
            for name, each in dict(self._mappings).items()
        }
        return {
            "mappings": mappings,
            "temporal_config": None,
            "exported_at": datetime.now(UTC).isoformat(),
        }

    @classmethod
    def from_export(cls, export_data: Mapping[str, Any]) -> SecurityRegistry:
        """The registry that an export holds, Mallku's own exports included."""
        return cls(dict(_exported(export_data)))

    def semantic(self, value: Any) -> Any:
        """A stored value with the names of its fields in the place of UUIDs, at every depth."""
        if isinstance(value, dict):
            return {self._names.get(key, key): self.semantic(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.semantic(item) for item in value]
        return value

    def unknown_in(self, value: Any) -> set[str]:
        """The fields in a stored value, at every depth, whose names are not known here yet."""
        if isinstance(value, list):
            return set().union(*map(self.unknown_in, value))
        if not isinstance(value, dict):
            return set()
        here = {key for key in value if key not in self._names and is_field_uuid(key)}
        return here.union(*map(self.unknown_in, value.values()))

    def learn(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Take in what other processes have told; the first who told of a name is right."""
        for document in documents:
            for name, each in _told(document):
                if name not in self._mappings or name in self._unsaved:
                    self._remember(name, each)
                    self._unsaved.discard(name)

    def unsaved(self) -> dict[str, str]:
        """What nobody was told yet."""
        return {name: self.uuid_of(name) for name in sorted(set(self._unsaved))}

    def saved(self, names: Iterable[str]) -> None:
        """These were told."""
        self._unsaved.difference_update(names)

    def _remember(self, name: str, each: str) -> None:
        self._mappings[name] = each
        self._names[each] = name


class RegistryStore:
    """Keeps a registry in the database; its coroutines are the portal's."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._loaded = False
        self._nameless: set[str] = set()
        self._looks_again_at = 0.0

    async def load(self, registry: SecurityRegistry, *, again: bool = False) -> None:
        """Learn what is known, once, or `again`."""
        if self._loaded and not again:
            return
        collection = await self._gateway.collection(COLLECTION)
        with suppress(CollectionNotFound):  # nobody told anything yet
            registry.learn(await collection.all().all())
        self._loaded = True

    async def know(self, registry: SecurityRegistry, value: Any) -> None:
        """Learn the names in a stored value, such as a page of rows, where others have told them.

        What is known is read once for all of them; once more are nameless than are remembered, at
        most once a minute.
        """
        unknown = registry.unknown_in(value) - self._nameless
        await self.load(registry, again=bool(unknown) and self._may_look_again())
        nameless = registry.unknown_in(value) - self._nameless  # told before, or never
        self._nameless.update(islice(nameless, MAX_NAMELESS - len(self._nameless)))

    def _may_look_again(self) -> bool:
        if len(self._nameless) < MAX_NAMELESS:
            return True
        now = monotonic()
        if now < self._looks_again_at:
            return False
        self._looks_again_at = now + _LOOKS_AGAIN_S
        return True

    async def tell(self, registry: SecurityRegistry) -> None:
        """Learn what is known, then tell what is new."""
        await self.load(registry)
        await self.save(registry)

    async def save(self, registry: SecurityRegistry) -> None:
        """Tell everybody of the names that are new; names that others told first stay theirs."""
        new = registry.unsaved()
        if not new:
            return
        now = datetime.now(UTC).isoformat()
        documents = [
            {
                "_key": str(uuid5(NAMESPACE_DNS, name)),
                "semantic_name": name,
                "field_uuid": each,
                "created_at": now,
            }
            for name, each in new.items()
        ]
        await self._gateway.write(
            COLLECTION,
            False,
            lambda found: found.insert_many(
                documents, overwrite_mode="ignore", raise_on_document_error=True
            ),
        )
        registry.saved(new)


def _told(document: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """The mappings in one document of the collection: ours, or a whole export of Mallku's."""
    if isinstance(exported := document.get("registry_export"), Mapping):
        yield from _exported(exported)
    name, each = document.get("semantic_name"), document.get("field_uuid")
    if isinstance(name, str) and isinstance(each, str):
        yield name, each


def _exported(export: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    mappings = export.get("mappings")
    for name, mapping in mappings.items() if isinstance(mappings, Mapping) else ():
        each = mapping.get("field_uuid") if isinstance(mapping, Mapping) else mapping
        if isinstance(each, str):
            yield name, each
