"""What a real ArangoDB said: errors are read as ours, and the simulated one says the same."""

from __future__ import annotations

import base64
import http.client
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from mallku_contracts.errors import BY_CODE, MallkuError, QueryError
from mallku_workers.stores.arango.errors import NUMBERS, coded, entry_error
from tests.support.recordings import Exchange, Names, load
from tests.support.simulated_arango import SimulatedArango

RECORDED = load(Path(__file__).parent / "recordings" / "arangodb-3.2.2.jsonl")

OTHERWISE_TODAY = {
    "version": "the simulated server is a newer one",
    "insert overwrite": "since 3.7 it overwrites",
    "insert overwrite_mode update": "since 3.7 it overwrites",
    "insert overwrite_mode ignore": "since 3.7 it overwrites",
    "insert not an object": "an empty object was meant",
    "collections": "system collections of 3.2",
    "has collection": "system collections of 3.2",
    "has collection missing": "system collections of 3.2",
    "all limit": "which documents come where nothing is sorted is open",
    "find": "which documents come where nothing is sorted is open",
    "aql paged": "since 3.11 the next page is asked for with POST",
    "stream transaction": "since 3.5",
    "index ttl": "since 3.5",
    "aql max runtime": "since 3.6; here 2 s of sleep",
    "parse": "the store does not ask for it",
    "parse error": "the store does not ask for it",
    "aql two writes": "system collections of 3.2",
}
"""Cases that a server of today answers otherwise, or that are not comparable: why."""

_GENERATED = re.compile(r"<(number|rev):[0-9]+>")
_WORDS = frozenset({"errorMessage", "extra", "identifiers", "id", "nodes", "stats", "warnings"})


def errors_of(exchange: Exchange) -> list[dict[str, Any]]:
    """The errors in an answer: its own, or those of single documents."""
    body = exchange.response["body"]
    entries = body if isinstance(body, list) else [body]
    return [one for one in entries if isinstance(one, dict) and one.get("error")]


@pytest.mark.parametrize(
    "exchange", [one for one in RECORDED if errors_of(one)], ids=lambda one: one.case
)
def test_every_recorded_error_is_one_of_ours(exchange: Exchange) -> None:
    """Each number that a real server gave has its code, and keeps ArangoDB's number."""
    for error in errors_of(exchange):
        number = error["errorNum"]
        if isinstance(exchange.response["body"], list):
            ours: MallkuError | None = entry_error(error)
        else:
            ours = coded(number, error["errorMessage"], status=exchange.response["status"])
        assert ours is not None
        assert BY_CODE[ours.code] is type(ours)
        if isinstance(ours, QueryError):
            assert ours.error_code == number
        elif number in NUMBERS and NUMBERS[number].error_code not in (None, 10):
            assert NUMBERS[number].error_code == number or number in (1208, 1222)


def learn(real: Any, ours: Any, known: dict[str, str]) -> None:
    """Note which of our generated values stands for which of the real server's."""
    if isinstance(real, dict) and isinstance(ours, dict):
        for key in real.keys() & ours.keys():
            if key in ("_rev", "id", "_key") and isinstance(ours[key], str):
                known[str(real[key]).rpartition("/")[2]] = ours[key].rpartition("/")[2]
            learn(real[key], ours[key], known)
    elif isinstance(real, list) and isinstance(ours, list):
        for one, other in zip(real, ours, strict=False):
            learn(one, other, known)


def translated(said: Any, known: dict[str, str]) -> Any:
    """What was said, with our generated values in it."""
    text = json.dumps(said)
    for real, ours in known.items():
        if real != ours:
            text = re.sub(rf"(?<![\w-]){re.escape(real)}(?![\w-])", ours, text)
    return json.loads(text)


def ask(url: str, exchange: Exchange, known: dict[str, str]) -> tuple[int, Any]:
    """Send a recorded request."""
    request, parts = translated(exchange.request, known), urlsplit(url)
    password = "wrong" if exchange.case.startswith("wrong password") else ""
    word = base64.b64encode(f"root:{password}".encode()).decode()
    headers = {"authorization": f"Basic {word}", **request.get("headers", {})}
    target = request["path"] + (f"?{urlencode(request['params'])}" if request["params"] else "")
    data = None if request["body"] is None else json.dumps(request["body"])
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request(request["method"], target, body=data, headers=headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if text else ""


def comparable(value: Any) -> Any:
    """Without words, statistics, and the numbers behind generated values."""
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items() if key not in _WORDS}
    if isinstance(value, list):
        return [comparable(item) for item in value]
    return _GENERATED.sub(r"<\1>", value) if isinstance(value, str) else value


def unordered(answer: Any) -> Any:
    """An answer whose rows came in no order."""
    if not isinstance(answer, dict) or not isinstance(answer.get("result"), list):
        return answer
    rows = sorted(answer["result"], key=lambda row: json.dumps(row, sort_keys=True))
    return {**answer, "result": rows}


def common(real: Any, simulated: Any) -> tuple[Any, Any]:
    """Two answers, of maps only what both have: later versions say more about collections."""
    if isinstance(real, dict) and isinstance(simulated, dict):
        shared = real.keys() & simulated.keys()
        pairs = {key: common(real[key], simulated[key]) for key in shared}
        return {k: v[0] for k, v in pairs.items()}, {k: v[1] for k, v in pairs.items()}
    if isinstance(real, list) and isinstance(simulated, list) and len(real) == len(simulated):
        both = [common(one, other) for one, other in zip(real, simulated, strict=True)]
        return [one for one, _ in both], [other for _, other in both]
    return real, simulated


def test_the_simulated_server_answers_as_the_real_one_did(tmp_path: Path) -> None:
    """Status, error number, documents, batches, indexes, graphs and query results, case by case."""
    server = SimulatedArango(tmp_path, databases=("_system", "chk"))
    real_names, names = Names(), Names()
    compared = 0
    known: dict[str, str] = {}
    try:
        for exchange in RECORDED:
            writes = exchange.request["method"] == "POST"
            if exchange.case in OTHERWISE_TODAY and not (
                exchange.case == "aql two writes" and writes
            ):
                continue
            status, body = ask(server.url, exchange, known)
            said = exchange.response["body"]
            place = f"{exchange.case}: {exchange.request['method']} {exchange.request['path']}"
            assert status == exchange.response["status"], (place, body)
            if said == "" or isinstance(body, str):
                continue
            learn(said, body, known)
            real = comparable(real_names.normal(translated(said, known)))
            ours = comparable(names.normal(body))
            if "SORT" not in str(exchange.request["body"]):
                real, ours = unordered(real), unordered(ours)
            one, other = common(real, ours)
            assert one == other, place
            compared += 1
    finally:
        server.close()
    assert compared > 80
