"""Terminal sessions in a document: carried out as they stand there, compared with what is shown.

A block fenced as `console` holds commands behind `$ ` (a backslash at the end goes on with the next
line) and what they say: every line has to come, in this order, whatever stands between; `…` in a
line stands for anything. The last command of a block fenced as `console live` waits for what the
commands of the next block bring about, which are carried out until it ends.
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

COLUMNS = 220
COMMAND_S = 30.0
CURSOR_ASKED, CURSOR_SAID = b"\x1b[6n", b"\x1b[1;1R"
_BLOCK = re.compile(r"^```(?P<kind>[a-z ]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[78]")


@dataclass
class Step:
    """One command, what is shown of its output, and how many commands follow in its block."""

    command: str
    shown: list[str] = field(default_factory=list)
    live: bool = False
    following: int = 0


def read_steps(document: str) -> Iterator[Step]:
    """Every command of a document's `console` blocks, in order."""
    for block in _BLOCK.finditer(document):
        kind = block["kind"].split()
        if kind[0] != "console":
            continue
        steps = list(_steps(block["text"]))
        steps[-1].live = kind[1:] == ["live"]
        for at, step in enumerate(steps):
            step.following = len(steps) - 1 - at
        yield from steps


def _steps(text: str) -> Iterator[Step]:
    step: Step | None = None
    lines = iter(text.splitlines())
    for line in lines:
        if not line.startswith("$ "):
            assert step is not None, f"a block begins with a command, not with {line!r}"
            step.shown.append(line)
            continue
        if step is not None:
            yield step
        command = line.removeprefix("$ ")
        while command.endswith("\\"):
            command = command.removesuffix("\\") + next(lines).strip()
        step = Step(command)
    if step is not None:
        yield step


class Session:
    """One command on a terminal of its own."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", f"stty cols {COLUMNS} rows 100; {command}"],
            cwd=folder,
            env=environment | {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": str(COLUMNS)},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._said = b""
        self.command = command

    @property
    def said(self) -> str:
        """Everything so far, without colours, and with one blank where there are several."""
        text = _COLOUR.sub("", self._said.decode("utf-8", "replace")).replace("\r\n", "\n")
        return "\n".join(" ".join(line.split()) for line in text.splitlines())

    def ended_within(self, seconds: float) -> bool:
        """Whether it ends, reading what it says meanwhile."""
        end = time.monotonic() + seconds
        while self._read(end):
            pass
        return time.monotonic() < end

    def finish(self) -> str:
        """Wait for the end; what it said."""
        try:
            ended = self.ended_within(COMMAND_S)
            assert ended, f"not within {COMMAND_S} s: {self.command}\n{self.said}"
        finally:
            self.close()
        return self.said

    def close(self) -> None:
        """Stop it, however it is."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def _read(self, end: float) -> bool:
        """Take more of what it says; False when it ended, or at `end`."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # on Linux that is how a terminal ends
            return False
        if CURSOR_ASKED in data:  # whoever draws a question asks the terminal where it stands
            os.write(self._master, CURSOR_SAID)
        self._said += data
        return bool(data)


def missing(shown: list[str], said: str) -> str | None:
    """The first line of a document that a command did not say; None when it said all of them."""
    lines = said.splitlines()
    at = 0
    for line in (" ".join(text.split()) for text in shown):
        if line in {"…", ""}:
            continue
        pattern = re.compile(".*".join(re.escape(part.strip()) for part in line.split("…")))
        found = next((n for n in range(at, len(lines)) if pattern.fullmatch(lines[n])), None)
        if found is None:
            return line
        at = found + 1
    return None
