"""Balances: kept in a collection that takes secured models only."""

from mallku_client.mallku import CollectionSecurityPolicy

from .connection import get_database
from .models import Balance


class Balances:
    """Keeps what is owed."""

    def __init__(self):
        self.db = get_database()

    async def keep(self, balance):
        """Put a balance away."""
        balances = await self.db.create_secured_collection(
            "reciprocity_balances_secured",
            CollectionSecurityPolicy("reciprocity_balances_secured", [Balance]),
        )
        return await balances.insert_secured(balance)
