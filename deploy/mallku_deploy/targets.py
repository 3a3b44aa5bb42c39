"""Where the metrics of each worker are, in a file that Prometheus reads (`file_sd_configs`).

Workers take free ports, so that the file changes whenever one is replaced; Prometheus watches it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mallku_broker.files import write_private_text
from mallku_contracts.errors import ConfigurationError
from mallku_deploy.events import Announce, Event, Unwritten, WorkerLost, WorkerReady


class Targets:
    """Follows what happens to workers, keeps the file, and tells whoever else is to be told."""

    def __init__(self, path: Path, announce: Announce) -> None:
        self._path, self._announce = path, announce
        self._at: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        """Take in one event and pass it on."""
        if isinstance(event, WorkerReady) and event.http:
            self._at[event.slot] = event.http
            self._write()
        elif isinstance(event, WorkerLost) and self._at.pop(event.slot, ""):
            self._write()
        self._announce(event)

    def _write(self) -> None:
        try:
            write_private_text(self._path, json.dumps(listed(self._at), indent=2) + "\n")
        except ConfigurationError as error:  # a full disk must not end the gateway
            self._announce(Unwritten(str(self._path), error.message))


def listed(at: Mapping[str, str]) -> list[dict[str, Any]]:
    """Targets as Prometheus has them: an address each, and the worker's place as a label."""
    return [
        {"targets": [address], "labels": {"worker": slot}} for slot, address in sorted(at.items())
    ]


def addresses(path: Path) -> list[str]:
    """The addresses in such a file; none where there is no such file."""
    try:
        return [str(group["targets"][0]) for group in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, LookupError, TypeError):
        return []
