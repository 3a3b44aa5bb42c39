"""Balances: a collection that takes secured models only, and says so."""

from mallku_client.mallku import (
    CollectionSecurityPolicy,
    SecurityViolationError,
    get_database,
)

from .models import Balance

COLLECTION = "reciprocity_balances_secured"


async def _collection():
    db = await get_database()
    policy = CollectionSecurityPolicy(COLLECTION, [Balance], requires_security=True)
    return await db.create_secured_collection(COLLECTION, policy)


async def keep(balance: Balance) -> str:
    """Put a balance in."""
    made = await (await _collection()).insert_secured(balance)
    return made["_key"]


async def of(key: str) -> Balance | None:
    """A balance by its key."""
    return await (await _collection()).get_secured(key, Balance)


async def raise_by(key: str, amount: float) -> Balance | None:
    """Change one."""
    collection = await _collection()
    balance = await collection.get_secured(key, Balance)
    balance.amount += amount
    await collection.update_secured(key, balance)
    return await collection.get_secured(key, Balance)


async def over(amount: float) -> list[dict]:
    """Those above an amount, asked for by the field's own name."""
    db = await get_database()
    return await db.execute_secured_query(
        "FOR b IN @@c FILTER b.amount > @amount SORT b.participant RETURN b",
        bind_vars={"@c": COLLECTION, "amount": amount},
        collection_name=COLLECTION,
    )


async def go_around() -> dict:
    """What somebody in a hurry tries, and what is kept of it."""
    db = await get_database()
    collection = await _collection()
    before = db.get_security_metrics()["security_violations"]
    try:
        getattr(collection, "insert")  # noqa: B009 - the very look at it is refused
    except SecurityViolationError as refused:
        message = str(refused)
    metrics = db.get_security_metrics()
    return {
        "refused": message,
        "violations": metrics["security_violations"] - before,
        "score": metrics["compliance_score"],
        "secured": db.is_secured() and db.get_security_status()["secured_interface_active"],
    }
