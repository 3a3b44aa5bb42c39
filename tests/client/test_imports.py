from __future__ import annotations

import os
import statistics
import subprocess
import sys

import pytest

PARTS = "import nats, pydantic, nacl"
OURS = "import mallku_client"
MAX_RATIO = 1.3


def _cpu_s(code: str) -> float:
    """The processor time of an interpreter that runs `code`, seconds."""
    process = subprocess.Popen([sys.executable, "-I", "-c", code])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


def test_importing_costs_little() -> None:
    """At most 1.3 times what nats-py, pydantic and PyNaCl cost, in processor time, side by side."""
    ratios = [_cpu_s(OURS) / _cpu_s(PARTS) for _ in range(7)]
    assert statistics.median(ratios) <= MAX_RATIO


@pytest.mark.parametrize("module", ["mallku_client", "mallku_client.sync"])
def test_what_is_used_rarely_is_imported_when_used(module: str) -> None:
    """NATS, PyJWT, pydantic and the command line do not come with the client."""
    code = f"import sys, {module}; print(*sys.modules, sep='\\n')"
    run = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    late = {"jwt", "nats", "pydantic", "pydantic_settings", "rich", "structlog", "typer"}
    assert late & set(run.stdout.split()) == set()
