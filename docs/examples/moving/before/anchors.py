"""Memory anchors: found by words, and put away."""

from .connection import get_database


class AnchorStore:
    """Keeps memory anchors."""

    def __init__(self):
        self.db = get_database()
        if not self.db.has_collection("memory_anchors"):
            self.db.create_collection("memory_anchors")

    async def remember(self, anchor):
        """Put an anchor away; its key is the caller's."""
        return self.db.collection("memory_anchors").insert(anchor)

    async def search(self, keyword):
        """The anchors whose text holds a word."""
        query = f"""
            FOR anchor IN memory_anchors
                FILTER CONTAINS(LOWER(anchor.text), "{keyword}")
                SORT anchor.timestamp DESC
                LIMIT 10
                RETURN anchor
        """
        return list(self.db.aql.execute(query))

    async def how_many(self):
        """All of them."""
        return self.db._database.collection("memory_anchors").count()
