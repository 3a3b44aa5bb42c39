"""Which versions of an administrative document workers have put on the trail as adopted."""

from __future__ import annotations

from typing import Any, Final

from nats.aio.client import Client

from mallku_broker.generations import generations
from mallku_broker.jetstream import JETSTREAM_API, ask
from mallku_contracts.governed import ADOPT, GATEWAY, Kind
from mallku_contracts.subjects import PREFIX

WATCHING_WORKER: Final = "worker"
"""Begins the name of a worker's consumer on a bucket; a hyphen and the instance follow."""

MAX_PAGES: Final = 1_000
"""Answers of the server that are looked through, of 100,000 subjects each."""


def adoption_filter(kind: Kind, version: int | None = None) -> str:
    """The subjects of adoption records, of one version or of all (`governed.adopted`)."""
    token = "*" if version is None else str(version)
    return f"{PREFIX}.audit.{GATEWAY}.{kind.bucket}.{token}.{ADOPT}.done"


async def highest_adopted(connection: Client, kind: Kind, *, api: str = JETSTREAM_API) -> int:
    """The highest version that any worker ever adopted; 0 when there is none.

    No version below it may govern again. The versions are tokens of subjects, so that the server
    lists them (`STREAM.INFO` with `subjects_filter`), whichever worker wrote last. `api` says where
    the JetStream API is found.

    Raises:
        GatewayUnreachable: the trail does not answer.
        ConfigurationError: there is no trail.
    """
    found = [
        await _highest_in(connection, state.name, kind, api)
        for state in await generations(connection, api=api)
    ]
    return max(found, default=0)


async def _highest_in(connection: Client, stream: str, kind: Kind, api: str) -> int:
    wanted: dict[str, Any] = {"subjects_filter": adoption_filter(kind), "offset": 0}
    highest = 0
    for _ in range(MAX_PAGES):
        answer = await ask(connection, f"STREAM.INFO.{stream}", wanted, api=api)
        subjects: dict[str, int] = answer.get("state", {}).get("subjects") or {}
        highest = max([highest, *(_version(subject) for subject in subjects)])
        wanted["offset"] += len(subjects)
        if not subjects or wanted["offset"] >= answer.get("total", 0):
            break
    return highest


async def watching_workers(connection: Client, kind: Kind) -> set[str]:
    """The instances of the workers that wait for the next document of this kind now.

    Raises:
        GatewayUnreachable: the bucket does not answer.
        ConfigurationError: there is no bucket.
    """
    wanted = {"offset": 0}
    workers: set[str] = set()
    for _ in range(MAX_PAGES):
        answer = await ask(connection, f"CONSUMER.LIST.KV_{kind.bucket}", wanted)
        consumers: list[dict[str, Any]] = answer.get("consumers") or []
        workers |= {_instance(each["name"]) for each in consumers if each.get("num_waiting")}
        wanted["offset"] += len(consumers)
        if not consumers or wanted["offset"] >= answer.get("total", 0):
            break
    return workers - {""}


def _instance(consumer: str) -> str:
    who, _, rest = consumer.partition("-")
    return rest.partition("-")[0] if who == WATCHING_WORKER else ""


def _version(subject: str) -> int:
    token = subject.removeprefix(f"{PREFIX}.audit.").split(".")[2]
    return int(token) if token.isdecimal() else 0
