"""The gateway's load: the client that services use, over the whole line and back."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

from mallku_client.settings import ClientSettings
from mallku_deploy.bench import Call
from mallku_deploy.bench.calls import open_calls

COLLECTION: Final = "anchors"


@asynccontextmanager
async def gateway(setting: dict[str, Any]) -> AsyncGenerator[Call]:
    """Calls of `setting["operation"]` against the house that `setting["environment"]` names."""
    settings = ClientSettings.from_environment(setting["environment"])
    async with open_calls(
        settings, collection=COLLECTION, size=setting["size"], documents=setting["documents"]
    ) as calls:
        yield calls.of(setting["operation"])
