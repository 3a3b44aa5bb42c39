"""A collection: python-arango's methods, awaited, each of them one signed command.

Arguments stand in python-arango's order up to the first one that has no meaning here; those behind
it go by keyword, so that nothing can slip into another one's place. What is not given is left to
the gateway. All methods also take `CallOptions`: `timeout`, `idempotency_key`, `on_answer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mallku_client.collection.batches import BatchOperations
from mallku_client.collection.documents import DocumentOperations
from mallku_client.collection.indexes import IndexOperations
from mallku_client.collection.matches import MatchOperations

if TYPE_CHECKING:
    from mallku_client.commands import Commands
    from mallku_client.dry_run import DryRunCollection
    from mallku_client.job_methods import Submit

__all__ = ["Collection"]


class Collection(DocumentOperations, BatchOperations, MatchOperations, IndexOperations):
    """One collection of the database; made by `SecuredDatabaseInterface.collection`.

    Every method raises `MallkuError` with all that its tree holds: `DocumentError`,
    `CollectionError`, `PermissionDenied`, `GatewayUnreachable` and `OutcomeUnknown` are the ones
    to know.
    """

    @property
    def dry_run(self) -> DryRunCollection:
        """The writes of this collection, only tried: what they would touch, and nothing touched."""
        from mallku_client.dry_run import DryRunCollection  # it stands on collections

        return DryRunCollection(self._commands, self._name)

    @property
    def submit(self) -> Submit:
        """The writes of this collection as durable jobs: `await c.submit.insert(…)` is a `Job`."""
        from mallku_client.job_methods import Submit  # it stands on collections

        return Submit(cast("Commands", self._commands), self._name)
