"""Writes that are only tried, without `await`; see `mallku_client.dry_run`."""

from __future__ import annotations

from mallku_client import dry_run
from mallku_client.facade import Blocking
from mallku_client.session import Session


class DryRunCollection:
    """A collection whose writes are only tried; made by `Collection.dry_run`."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name

    def __repr__(self) -> str:
        return f"<DryRunCollection {self._name}>"

    async def target(self) -> dry_run.DryRunCollection:
        """The awaited object behind this one; for the facade's own use."""
        return (await self._session.database()).collection(self._name).dry_run

    update = Blocking(dry_run.DryRunCollection.update)
    replace = Blocking(dry_run.DryRunCollection.replace)
    delete = Blocking(dry_run.DryRunCollection.delete)
    update_many = Blocking(dry_run.DryRunCollection.update_many)
    replace_many = Blocking(dry_run.DryRunCollection.replace_many)
    delete_many = Blocking(dry_run.DryRunCollection.delete_many)
    update_match = Blocking(dry_run.DryRunCollection.update_match)
    replace_match = Blocking(dry_run.DryRunCollection.replace_match)
    delete_match = Blocking(dry_run.DryRunCollection.delete_match)
