"""Memory anchors: blocking calls inside `async def`, as most of Mallku's code makes them."""

import logging

from mallku_client.mallku import get_database

from .models import Anchor

logger = logging.getLogger(__name__)
COLLECTION = "memory_anchors"


class AnchorStore:
    """Keeps anchors; a fault is logged, and the caller goes on with nothing."""

    def __init__(self):
        self.db = get_database()

    async def prepare(self):
        """Collection and indexes, however often this runs."""
        if not self.db.has_collection(COLLECTION):
            self.db.create_collection(COLLECTION)
        self.db.collection(COLLECTION).add_persistent_index(fields=["kind", "strength"])
        self.db.collection(COLLECTION).add_persistent_index(fields=["timestamp"], unique=False)

    async def remember(self, anchor: Anchor) -> str | None:
        """Put an anchor in; the same anchor again is no conflict."""
        try:
            return self.db.collection(COLLECTION).insert(anchor.to_document())["_key"]
        except Exception:  # as Mallku's callers do
            logger.exception("not remembered")
            return None

    async def recall(self, key: str) -> dict | None:
        """One anchor, None where there is none."""
        return self.db.collection(COLLECTION).get(key)

    async def strengthen(self, key: str, by: float) -> dict:
        """Both ways to say an update."""
        anchors = self.db.collection(COLLECTION)
        anchors.update({"_key": key, "touched": True})
        anchors.update({"_key": key}, {"strength": anchors.get(key)["strength"] + by})
        return anchors.get(key)

    async def forget(self, key: str) -> bool:
        """Remove one, and say whether it is gone."""
        anchors = self.db.collection(COLLECTION)
        anchors.delete(key)
        return not anchors.has(key)

    async def overview(self) -> dict:
        """Counts, and a few of them."""
        anchors = self.db.collection(COLLECTION)
        return {
            "count": anchors.count(),
            "first": [row["_key"] for row in anchors.all(limit=2)],
            "khipu": len(list(anchors.find({"kind": "khipu"}, limit=10))),
        }

    async def load_all(self) -> int:
        """What a start-up scan does: every document, in pages."""
        cache = {}
        for row in self.db.collection(COLLECTION).all():
            row["cached"] = True  # rows are the caller's own
            cache[row["_key"]] = row
        return len(cache)
