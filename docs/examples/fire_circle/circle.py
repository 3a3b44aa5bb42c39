"""Fire circle sessions: awaited calls, many at the same moment."""

import asyncio

from mallku_client.mallku import get_database

VOICES = ("claude", "gpt", "gemini", "mistral", "grok", "deepseek", "local")


async def hold(session: str, question: str) -> dict:
    """Seven voices in parallel, each with several writes; then all of it is read again."""
    db = await get_database()
    await db.create_collection("fc_episodic_memories")
    memories = db.collection("fc_episodic_memories")

    async def speak(voice: str) -> str:
        key = f"{session}-{voice}"
        await memories.insert({"_key": key, "session": session, "voice_name": voice, "rounds": 0})
        for number in (1, 2):
            await memories.update({"_key": key, "rounds": number, "question": question})
        return key

    keys = await asyncio.gather(*map(speak, VOICES))
    found = await asyncio.gather(*(memories.get(key) for key in keys))  # one command, not seven
    return {"rounds": sum(row["rounds"] for row in found), "voices": len(found)}


async def link(first: str, second: str) -> int:
    """An edge between two memories, and a walk along it."""
    db = await get_database()
    await db.create_collection("activity_relationships", edge=True)
    await db.collection("activity_relationships").insert(
        {"_from": f"fc_episodic_memories/{first}", "_to": f"fc_episodic_memories/{second}"}
    )
    rows = await db.aql.execute(
        "WITH fc_episodic_memories FOR v IN 1..3 OUTBOUND @start activity_relationships RETURN v",
        bind_vars={"start": f"fc_episodic_memories/{first}"},
    )
    return len([row async for row in rows])


async def moment(index: int) -> None:
    """A progress moment whose result nobody reads."""
    db = get_database()
    db.collection("chasqui_journey_moments").insert({"_key": f"moment-{index}", "index": index})
