"""Balances: kept in a collection that takes secured models only."""

from .connection import get_database


class Balances:
    """Keeps what is owed."""

    def __init__(self):
        self.db = get_database()

    async def keep(self, balance):
        """Put a balance away."""
        balances = self.db.collection("reciprocity_balances_secured")
        return balances.insert(balance.model_dump(mode="json"))
