"""The service itself."""

from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException

from mallku_client.mallku import get_database

from . import circle, patterns, reciprocity
from .anchors import AnchorStore
from .models import Anchor, Balance


@asynccontextmanager
async def lifespan(app: FastAPI):
    """Prepare what the service needs; one database object for all of it."""
    db = get_database()
    await db.initialize()
    app.state.anchors = AnchorStore()
    await app.state.anchors.prepare()
    yield


app = FastAPI(title="Fire circle", lifespan=lifespan)


@app.post("/anchors", status_code=201)
async def remember(anchor: Anchor) -> dict:
    """Put an anchor in."""
    return {"key": await app.state.anchors.remember(anchor)}


@app.get("/anchors/{key}")
async def recall(key: str) -> dict:
    """One anchor."""
    if (found := await app.state.anchors.recall(key)) is None:
        raise HTTPException(404)
    return found


@app.patch("/anchors/{key}")
async def strengthen(key: str, by: float) -> dict:
    """Make an anchor stronger."""
    return await app.state.anchors.strengthen(key, by)


@app.delete("/anchors/{key}")
async def forget(key: str) -> dict:
    """Remove an anchor."""
    return {"gone": await app.state.anchors.forget(key)}


@app.get("/anchors")
async def overview() -> dict:
    """Counts, and what a start-up scan finds."""
    return {**await app.state.anchors.overview(), "loaded": await app.state.anchors.load_all()}


@app.get("/patterns/{name}")
def pattern(name: str) -> list:
    """The rows of a query; runs in a thread of FastAPI's pool."""
    return patterns.ask(name)


@app.get("/search")
async def search(words: str) -> list:
    """Search with somebody's words, put into the text as they are."""
    return patterns.search(words)


@app.post("/circles/{session}")
async def hold(session: str) -> dict:
    """Hold a fire circle."""
    held = await circle.hold(session, "what is reciprocity?")
    held["walked"] = await circle.link(f"{session}-claude", f"{session}-gpt")
    await circle.moment(len(session))
    return held


@app.put("/balances")
async def keep(balance: Balance) -> dict:
    """Keep a balance, raise it, and read it again by a query on its own field names."""
    key = await reciprocity.keep(balance)
    raised = await reciprocity.raise_by(key, 1)
    return {"key": key, "amount": raised.amount, "over": await reciprocity.over(0)}


@app.get("/around")
async def go_around() -> dict:
    """Try to go around the security of a collection."""
    return await reciprocity.go_around()


@app.get("/database")
async def database() -> dict:
    """What callers read off the database object."""
    db = get_database()
    names = sorted(str(item) for item in db.collections())
    return {
        "collections": names,
        "by_item": sorted(item["name"] for item in db.collections()),
        "plain_count": db._database.collection("memory_anchors").count(),
        "operations": db._operation_count > 0,
        "policies": sorted(db._collection_policies),
    }
