"""One collection as Mallku's callers hold it: open, or secured so that only models get through."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mallku_client.mallku.calls import Face, at_once
from mallku_client.mallku.plain_collection import PlainCollection
from mallku_client.mallku.policies import CollectionSecurityPolicy, key_of, name_of
from mallku_client.mallku.registry import SecurityRegistry
from mallku_client.mallku.values import plain
from mallku_contracts.document_keys import check_key
from mallku_contracts.errors import InvalidArguments, SecurityViolation

if TYPE_CHECKING:
    from mallku_client.mallku.interface import SecuredDatabaseInterface

M = TypeVar("M")
Document = dict[str, Any]

_BEYOND: Final = frozenset(
    {"random", "import_bulk", "export", "cursor", "batch", "keys", "ids", "replace_match"}
)
"""Direct operations of python-arango that are not here, and are no less direct for that."""


class Direct:
    """A direct operation: on a secured collection it is refused as soon as it is looked at."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        functools.update_wrapper(self, method)  # type: ignore[arg-type]  # what it needs is there

    def __get__(self, wrapper: Any, owner: type | None = None) -> Any:
        if wrapper is None:
            return self._method
        wrapper._refuse_direct(self._method.__name__)  # noqa: SLF001 - the wrapper's own descriptor
        return self._method.__get__(wrapper, owner)


class SecuredCollectionWrapper:
    """A collection with its policy.

    Direct operations follow the face that the collection was obtained with; the secured ones are
    awaited.

    Args:
        collection: What carries operations out: a collection of the gateway's, or any object with
            python-arango's names. Nothing is called on it here.
        registry: Where secured models get the names of their fields.
        parent: The interface that counts, and that is told of violations.

    Raises:
        SecurityViolation: there is no policy, or no name.
    """

    _collection: Any = None  # for mocks; each has its own
    _policy: CollectionSecurityPolicy = None  # type: ignore[assignment]  # as above

    def __init__(
        self,
        collection: Any,
        policy: CollectionSecurityPolicy,
        registry: Any = None,
        parent: SecuredDatabaseInterface | None = None,
    ) -> None:
        if not getattr(policy, "collection_name", ""):
            raise SecurityViolation("A collection is wrapped with a security policy that names it")
        self._collection = collection
        self._policy = policy
        self._security_registry = SecurityRegistry() if registry is None else registry
        self._parent_interface = parent
        self._operation_count = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._policy.collection_name

    def __await__(self) -> Generator[Any, None, SecuredCollectionWrapper]:
        collection = self._collection
        if isinstance(collection, PlainCollection):
            collection = collection.facing(Face.AWAITED)
        twin = SecuredCollectionWrapper(
            collection, self._policy, self._security_registry, self._parent_interface
        )
        return at_once(twin).__await__()

    # --- secured operations

    async def insert_secured(self, model: Any, **options: Any) -> Any:
        """Put in a secured model: `{"_id", "_key", "_rev"}`.

        Raises:
            SecurityViolation: it is none, or not let in here.
        """
        document = await self._document_of("insert_secured", model)
        return await self._act("insert", document, **self._naming(type(model)), **options)

    async def insert_many_secured(self, models: Iterable[Any], **options: Any) -> list[Any]:
        """Put in several secured models; a result or an error for each, in their order."""
        return await self._batch("insert_many", models, options)

    async def get_secured(self, key: str, model_type: type[M]) -> M | None:
        """The model under this key, None where there is none.

        Raises:
            SecurityViolation: that kind of model is not let in here.
        """
        self._checked("get_secured", self._policy.validate_type, model_type)
        stored = await self._act("get", str(key), **self._naming(model_type))
        if not stored:
            return None
        model: M = await self._model_of(model_type, stored)
        return model

    async def update_secured(self, key: str, model: Any, **options: Any) -> Any:
        """Change the document under this key into what the model says of it."""
        return await self._put("update", key, model, options)

    async def replace_secured(self, key: str, model: Any, **options: Any) -> Any:
        """Put a model in the place of the document under this key."""
        return await self._put("replace", key, model, options)

    async def update_many_secured(self, models: Iterable[Any], **options: Any) -> list[Any]:
        """Change the documents that the models' own keys name."""
        return await self._batch("update_many", models, options)

    async def delete_secured(self, key: str, **options: Any) -> Any:
        """Remove the document under this key."""
        return await self._act("delete", str(key), **options)

    async def delete_many_secured(self, keys: Sequence[Any], **options: Any) -> Any:
        """Remove the documents under these keys, or of these models."""
        named = [key if isinstance(key, str) else str(key_of(key) or key) for key in keys]
        return await self._act("delete_many", named, **options)

    async def truncate_secured(self) -> Any:
        """Remove every document."""
        return await self._act("truncate")

    # --- what is no document

    def count(self, filters: Document | None = None) -> Any:
        """How many documents there are; in an open collection, how many equal filters."""
        if filters is not None:
            self._refuse_direct("count")
        return self._direct("count", *_given(filters))

    def exists(self) -> Any:
        """Whether the collection is there."""
        if isinstance(self._collection, PlainCollection):
            return self._collection.exists()
        return True

    def add_persistent_index(
        self, fields: Sequence[str], unique: bool = False, **options: Any
    ) -> Any:
        """Make an index; on a secured collection, over the UUIDs of these fields."""
        names = self._fields(fields)
        return self._collection.add_persistent_index(fields=names, unique=unique, **options)

    def add_index(self, data: Document, **options: Any) -> Any:
        """Make the index that `data` describes, over the same fields as `add_persistent_index`."""
        named = {"fields": self._fields(data["fields"])} if "fields" in data else {}
        return self._collection.add_index({**data, **named}, **options)

    # --- direct operations

    @Direct
    def insert(self, document: Document, **options: Any) -> Any:
        """Put in a new document."""
        return self._direct("insert", document, **options)

    @Direct
    def insert_many(self, documents: Sequence[Document], **options: Any) -> Any:
        """Put in several documents."""
        return self._direct("insert_many", documents, **options)

    @Direct
    def get(self, document: Any, **options: Any) -> Any:
        """The document with this key, None where there is none."""
        return self._direct("get", document, **options)

    @Direct
    def get_many(self, documents: Sequence[Any], **options: Any) -> Any:
        """Those of the documents with these keys that are there."""
        return self._direct("get_many", documents, **options)

    @Direct
    def has(self, document: Any, **options: Any) -> Any:
        """Whether there is a document with this key."""
        return self._direct("has", document, **options)

    @Direct
    def update(self, document: Any, values: Document | None = None, **options: Any) -> Any:
        """Change the given attributes of the document that `_key` names."""
        return self._direct("update", document, *_given(values), **options)

    @Direct
    def update_many(self, documents: Sequence[Document], **options: Any) -> Any:
        """Change several documents."""
        return self._direct("update_many", documents, **options)

    @Direct
    def update_match(self, filters: Document, body: Document, **options: Any) -> Any:
        """Change whatever equals the filters."""
        return self._direct("update_match", filters, body, **options)

    @Direct
    def replace(self, document: Any, values: Document | None = None, **options: Any) -> Any:
        """Put a document in the place of the one with its `_key`."""
        return self._direct("replace", document, *_given(values), **options)

    @Direct
    def replace_many(self, documents: Sequence[Document], **options: Any) -> Any:
        """Replace several documents."""
        return self._direct("replace_many", documents, **options)

    @Direct
    def replace_match(self, filters: Document, body: Document, **options: Any) -> Any:
        """Replace whatever equals the filters."""
        return self._direct("replace_match", filters, body, **options)

    @Direct
    def upsert(self, filters: Document, insert: Document, **options: Any) -> Any:
        """Put in `insert` unless a document equals `filters`; else change that one."""
        return self._direct("upsert", filters, insert, **options)

    @Direct
    def delete(self, document: Any, **options: Any) -> Any:
        """Remove the document with this key."""
        return self._direct("delete", document, **options)

    @Direct
    def delete_many(self, documents: Sequence[Any], **options: Any) -> Any:
        """Remove several documents."""
        return self._direct("delete_many", documents, **options)

    @Direct
    def delete_match(self, filters: Document, **options: Any) -> Any:
        """Remove whatever equals the filters."""
        return self._direct("delete_match", filters, **options)

    @Direct
    def find(
        self, filters: Document, skip: int = 0, limit: int | None = None, **options: Any
    ) -> Any:
        """The documents that equal every filter."""
        return self._direct("find", filters, skip, limit, **options)

    @Direct
    def all(self, skip: int = 0, limit: int | None = None, **options: Any) -> Any:
        """All documents."""
        return self._direct("all", skip, limit, **options)

    @Direct
    def truncate(self, **options: Any) -> Any:
        """Remove every document."""
        return self._direct("truncate", **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in _BEYOND:
            self._refuse_direct(name)
        return getattr(self._collection, name)

    # --- how

    def _direct(self, method: str, *arguments: Any, **options: Any) -> Any:
        self._counted()
        return getattr(self._collection, method)(*arguments, **options)

    def _refuse_direct(self, operation: str) -> None:
        if self._policy.requires_security:
            raise self._violation(
                operation,
                f"Direct access to {operation} is not allowed. "
                "Use secured methods like insert_secured(), get_secured(), etc.",
            )

    def _violation(self, operation: str, message: str) -> SecurityViolation:
        if self._parent_interface is not None:
            self._parent_interface.record_violation(self.name, operation, message)
        return SecurityViolation(message, details={"collection": self.name, "field": operation})

    def _checked(self, operation: str, check: Callable[[Any], None], subject: Any) -> None:
        try:
            check(subject)
        except SecurityViolation as refusal:
            raise self._violation(operation, refusal.message) from None

    def _counted(self, operations: int = 1) -> None:
        self._operation_count += operations
        if self._parent_interface is not None:
            self._parent_interface.count_operation(operations)

    def _fields(self, names: Iterable[str]) -> list[str]:
        return [self._field(name) if self._policy.requires_security else name for name in names]

    def _field(self, name: str) -> str:
        first, dot, rest = name.partition(".")
        if first.startswith("_"):
            return name
        return str(self._security_registry.get_or_create_mapping(first)) + dot + rest

    def _naming(self, kind: type) -> dict[str, Any]:
        """What tells the worker which model is meant."""
        if self._policy.requires_security and isinstance(self._collection, PlainCollection):
            return {"model": name_of(self._policy, kind)}
        return {}

    async def _act(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Carry out one operation without keeping the caller's loop from anything else."""
        self._counted()
        collection = self._collection
        if isinstance(collection, PlainCollection):
            collection = collection.facing(Face.AWAITED)
        result = getattr(collection, method)(*arguments, **options)
        return await result if inspect.isawaitable(result) else result

    async def _document_of(self, operation: str, model: Any) -> Document:
        self._checked(operation, self._policy.validate_model, model)
        stored = model.to_storage_dict(self._security_registry)
        if not isinstance(stored, dict):
            raise InvalidArguments(
                f"{type(model).__name__}.to_storage_dict gave no document: {type(stored).__name__}"
            )
        document: Document = plain(stored, type(model).__name__)
        if (key := key_of(model)) is not None:
            document["_key"] = check_key(key)
        if self._parent_interface is not None:
            await self._parent_interface.save_registry(self._security_registry)
        return document

    async def _put(self, method: str, key: str, model: Any, options: dict[str, Any]) -> Any:
        document = await self._document_of(f"{method}_secured", model)
        document["_key"] = check_key(str(key))
        naming = self._naming(type(model))
        if isinstance(self._collection, PlainCollection):
            return await self._act(method, document, **naming, **options)
        del document["_key"]
        return await self._act(method, {"_key": str(key)}, document, **options)

    async def _batch(
        self, method: str, models: Iterable[Any], options: dict[str, Any]
    ) -> list[Any]:
        """One command for each kind of model; the results are in the models' order."""
        models = list(models)
        documents = [await self._document_of(f"{method}_secured", model) for model in models]
        results: list[Any] = [None] * len(documents)
        for kind in dict.fromkeys(type(model) for model in models):
            places = [place for place, model in enumerate(models) if type(model) is kind]
            part = [documents[place] for place in places]
            answers = await self._act(method, part, **self._naming(kind), **options)
            self._counted(len(part) - 1)
            for place, answer in zip(places, _listed(answers, part), strict=True):
                results[place] = answer
        return results

    async def _model_of(self, model_type: Any, stored: Document) -> Any:
        if self._parent_interface is not None:
            await self._parent_interface.know_fields(self._security_registry, stored)
        fields = {name: value for name, value in stored.items() if not name.startswith("_")}
        if callable(set_registry := getattr(model_type, "set_registry", None)):
            set_registry(self._security_registry)
        read = model_type.from_storage_dict
        return read(fields, self._security_registry) if _takes_two(read) else read(fields)


def _given(values: Document | None) -> tuple[Document, ...]:
    return () if values is None else (values,)


def _listed(answers: Any, asked: Sequence[Any]) -> Iterable[Any]:
    return answers if isinstance(answers, list) else [answers] * len(asked)


def _takes_two(read: Callable[..., Any]) -> bool:
    """Whether `from_storage_dict` asks for the registry as well."""
    try:
        parameters = inspect.signature(read).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    asked = [each for each in parameters if each.kind in positional]
    return len(asked) > 1 or any(each.kind is each.VAR_POSITIONAL for each in parameters)
