"""A collection: python-arango's methods, awaited, each of them one signed command.

Arguments stand in python-arango's order up to the first one that has no meaning here; those behind
it go by keyword, so that nothing can slip into another one's place. What is not given is left to
the gateway. All methods also take `CallOptions`: `timeout`, `idempotency_key`, `on_answer`.
"""

from __future__ import annotations

from mallku_client.collection.batches import BatchOperations
from mallku_client.collection.documents import DocumentOperations
from mallku_client.collection.indexes import IndexOperations
from mallku_client.collection.matches import MatchOperations

__all__ = ["Collection"]


class Collection(DocumentOperations, BatchOperations, MatchOperations, IndexOperations):
    """One collection of the database; made by `SecuredDatabaseInterface.collection`.

    Every method raises `MallkuError` with all that its tree holds: `DocumentError`,
    `CollectionError`, `PermissionDenied`, `GatewayUnreachable` and `OutcomeUnknown` are the ones
    to know.
    """
