"""Names of python-arango that are not here: each is refused by its name, and told what to write.

They can be looked at and called, so that a caller is told by a `NotSupported` of the face that it
has, and nothing is sent. Other names are no attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from mallku_client.mallku.calls import Face, failed
from mallku_contracts.errors import NotSupported

_STORE: Final = "how the store keeps documents is its operator's to say"
_PERSISTENT: Final = "write add_persistent_index(fields=[…])"
_NO_SUCH_INDEX: Final = f"the gateway makes persistent indexes alone: {_PERSISTENT}"
_PLACES: Final = "there are no geo or text indexes: write a query with FILTER"
_OPERATOR: Final = "databases, users and the server are their operator's, not a caller's"
_FUNCTIONS: Final = "there are no functions of callers' own in queries"

TTL: Final = (
    "documents that go by themselves would go without anybody's command and without a record: "
    "remove those that are old by a query, over a persistent index (docs/stores.md, Expiry)"
)
"""Why there is no such index."""


def _each(names: str, instead: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), instead)


OF_COLLECTIONS: Final[Mapping[str, str]] = {
    "add_ttl_index": TTL,
    **_each("add_hash_index add_skiplist_index", _PERSISTENT),
    **_each("add_geo_index add_fulltext_index add_inverted_index", _NO_SUCH_INDEX),
    **_each("find_near find_in_range find_in_radius find_in_box find_by_text", _PLACES),
    **_each("get_index", "write indexes(), and pick one"),
    **_each("random", 'write aql.execute("FOR d IN @@c SORT RAND() LIMIT 1 RETURN d", …)'),
    **_each("import_bulk", "write insert_many(documents)"),
    **_each("info", "write properties()"),
    **_each("checksum compact configure load load_indexes recalculate_count", _STORE),
    **_each("rename responsible_shard revision shards statistics unload", _STORE),
}
"""Names of a collection."""

OF_DATABASES: Final[Mapping[str, str]] = {
    "graph": "write graphs(), and queries over the graph's collections",
    **_each("begin_transaction", "write mallku_client.SecuredDatabaseInterface.transaction()"),
    **_each("execute_transaction", "write SecuredDatabaseInterface.execute_transaction()"),
    **_each("begin_async_execution", "write SecuredDatabaseInterface.submit()"),
    **_each("begin_batch_execution", "write insert_many, update_many, or asyncio.gather"),
    **_each("properties version status details engine role time statistics metrics", _OPERATOR),
    **_each("databases has_database create_database delete_database", _OPERATOR),
    **_each("users has_user user create_user update_user replace_user delete_user", _OPERATOR),
    **_each("permission permissions update_permission reset_permission", _OPERATOR),
    **_each("views view create_view delete_view analyzers create_analyzer", _NO_SUCH_INDEX),
}
"""Names of a database."""

OF_QUERIES: Final[Mapping[str, str]] = {
    **_each("explain", "write `mallku-gateway aql --explain`"),
    **_each("validate", "write mallku_contracts.aql.parsing.parse(text)"),
    **_each("queries kill slow_queries clear_slow_queries tracking set_tracking", _OPERATOR),
    **_each("functions create_function delete_function", _FUNCTIONS),
    **_each("cache history query_rules", _STORE),
}
"""Names of `aql`."""


def absent(what: str, name: str, face: Face, reasons: Mapping[str, str]) -> Callable[..., Any]:
    """What stands under a name that is not here: refuses when it is called.

    Raises:
        AttributeError: python-arango has no such name either, as far as anybody used it.
    """
    if (reason := reasons.get(name)) is None:
        raise AttributeError(f"{what} has no {name}", name=name)

    def refuse(*_arguments: Any, **_options: Any) -> Any:
        return failed(face, NotSupported(f"{name}: {reason}"))

    return refuse
