"""A real ArangoDB for tests: `ARANGO_URL`, or a container where a Docker engine answers.

The tests use a database `mallku`, made anew for each of them and removed afterwards. One that is
there already is somebody's: then nothing is touched and the tests say so.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

DATABASE = "mallku"
IMAGE = "arangodb:3.12"
_made: set[str] = set()


@cache
def real_url() -> str | None:
    """Where a real server listens, None where there is none."""
    url = os.environ.get("ARANGO_URL")
    if url:
        return url
    if not (os.environ.get("DOCKER_HOST") or Path("/var/run/docker.sock").exists()):
        return None
    return _container()


def _container() -> str | None:
    from docker.errors import DockerException  # type: ignore[import-untyped]
    from testcontainers.core.container import DockerContainer

    try:
        container = DockerContainer(IMAGE).with_env("ARANGO_NO_AUTH", "1").with_exposed_ports(8529)
        container.start()
    except DockerException:
        return None
    return f"http://{container.get_container_host_ip()}:{container.get_exposed_port(8529)}"


def fresh_database(url: str) -> None:
    """An empty database of the name that the tests use."""
    drop_database(url)
    status, body = _ask(url, "POST", "/_api/database", {"name": DATABASE})
    if status == 409:
        pytest.fail(f"{url} has a database {DATABASE} that these tests did not make: not touched")
    assert status == 201, body
    _made.add(url)


def drop_database(url: str) -> None:
    """Remove the database, if it is ours."""
    if url in _made:
        _ask(url, "DELETE", f"/_api/database/{DATABASE}", None)
        _made.discard(url)


def version(url: str) -> str:
    """The server's version."""
    _, body = _ask(url, "GET", "/_api/version", None)
    return str(body["version"])


def _ask(url: str, method: str, path: str, body: Any) -> tuple[int, Any]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 8529, timeout=30)
    user = os.environ.get("ARANGO_USER", "root")
    password = os.environ.get("ARANGO_PASSWORD", "")
    word = base64.b64encode(f"{user}:{password}".encode()).decode()
    data = None if body is None else json.dumps(body)
    headers = {"authorization": f"Basic {word}", "content-type": "application/json"}
    connection.request(method, f"/_db/_system{path}", body=data, headers=headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if text else None
