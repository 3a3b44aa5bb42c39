"""What a rollout has threads for goes on: whatever a look at the flags raises, and after a fork."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from mallku_client.rollout import WatchedRoutes
from mallku_contracts.errors import MallkuError, Unavailable
from mallku_contracts.results import FlagsInfo
from mallku_contracts.routes import Route

FLAGS = FlagsInfo(version=1, collections={"c": "gateway"}, default="legacy", flags={})

AFTER_A_FORK = """
import os, time
from mallku_client.rollout import Shadow, WatchedRoutes
from mallku_contracts.routes import Route

flags = {"version": 1, "collections": {"c": "shadow"}, "default": "legacy", "flags": {}}
routes = WatchedRoutes(lambda: flags, look_s=0.01)
closed = WatchedRoutes(lambda: flags, look_s=0.01)
closed.wait(10)
closed.close()
assert routes.wait(10)
shadow, ended = Shadow(), Shadow()
ended.close()
shadow.beside("c", "get", 1, lambda: 1)
while not shadow.report():
    time.sleep(0.01)

child = os.fork()
if child == 0:
    code = 1
    try:
        flags = {**flags, "version": 2, "collections": {"c": "gateway"}}
        end = time.monotonic() + 20
        while routes.route("c") is not Route.GATEWAY:
            assert time.monotonic() < end, "nobody looks"
            time.sleep(0.01)
        assert closed.route("c") is Route.SHADOW
        for each in (shadow, ended):
            each.beside("c", "get", 1, lambda: 2)
            each.close()
        assert shadow.report() == {"c": {"different": 1}}, shadow.report()
        assert ended.report() == {}
        code = 0
    finally:
        os._exit(code)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
shadow.close()
assert shadow.report() == {"c": {"equal": 1}}
"""


@pytest.mark.parametrize(
    "answer", [Unavailable("gone"), OSError("gone"), {"version": "none"}, None, KeyError("version")]
)
def test_no_look_is_the_last(answer: object, caplog: pytest.LogCaptureFixture) -> None:
    """What a look raises or finds is logged, once while it stays the same, and looked past."""
    asked = 0

    def describe() -> FlagsInfo:
        nonlocal asked
        asked += 1
        if asked > 3:
            return FLAGS
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]  # that is the point

    with caplog.at_level(logging.WARNING):
        routes = WatchedRoutes(describe, look_s=0.001)
        assert routes.wait(10)
        routes.close()
    assert routes.route("c") is Route.GATEWAY
    assert len(caplog.records) == 1
    assert "flags" in caplog.text


def test_a_gateway_that_is_away_does_not_keep_a_service_from_starting() -> None:
    """Who connects inside the callable is asked again until it can."""
    asked: list[MallkuError] = []

    def connect_and_describe() -> FlagsInfo:
        if len(asked) < 2:
            asked.append(Unavailable("nobody there"))
            raise asked[-1]
        return FLAGS

    routes = WatchedRoutes(connect_and_describe, look_s=0.001)
    assert routes.wait(10)
    routes.close()
    assert routes.route("c") is Route.GATEWAY


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_looks_and_compares_by_itself() -> None:
    """With threads of its own, counting its own; what was closed stays closed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", AFTER_A_FORK],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
