"""The real `nats` command line: on PATH, else built once with Go into a cache folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MODULE = "github.com/nats-io/natscli/nats@latest"
BUILD_S = 900.0
GO = ("go", "/usr/local/go/bin/go")


def find_nats() -> Path:
    """Where `nats` is; skips the test, saying why, where there is none and none can be built."""
    known = shutil.which("nats")
    if known:
        return Path(known)
    cached = _cache() / "nats"
    if not cached.exists():
        _build(cached.parent)
    return cached


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "mallku-gateway" / "natscli"


def _build(folder: Path) -> None:
    go = next((found for each in GO if (found := shutil.which(each))), None)
    if go is None:
        pytest.skip("there is no `nats` on PATH, and no Go to build it with")
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"GOFLAGS": "-mod=mod", "GOBIN": str(folder)}
    try:
        done = subprocess.run(
            [go, "install", MODULE],
            env=environment,
            capture_output=True,
            text=True,
            timeout=BUILD_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"`go install {MODULE}` took more than {BUILD_S:.0f} s")
    if done.returncode != 0:
        pytest.skip(f"`go install {MODULE}` failed: {done.stderr.strip()[-300:]}")
