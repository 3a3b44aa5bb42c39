"""Walks what is to be checked: files as they are named, trees without what is nobody's source."""

from __future__ import annotations

import fnmatch
import os
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mallku_contracts.errors import ConfigurationError
from mallku_contracts.limits import MIB
from mallku_deploy.migrating.python_source import find_in_python
from mallku_deploy.migrating.rules import Finding
from mallku_deploy.migrating.text_source import find_in_text, heed_allowances

MAX_FILE_BYTES: Final = 4 * MIB
"""A file that is checked, bytes; a larger one is a finding, not a silence."""

PASSED_OVER: Final = frozenset(
    {
        *(".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".nox"),
        *(".mypy_cache", ".ruff_cache", ".pytest_cache", "site-packages", "dist", "build"),
    }
)
"""Folders that hold nobody's source."""

TEXT_SUFFIXES: Final = frozenset(
    {".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".env", ".json", ".sh", ".properties"}
)
TEXT_NAMES: Final = frozenset({"Dockerfile", "Containerfile", "Makefile", ".env"})
REQUIREMENTS: Final = "requirements*.txt"
_PYTHON: Final = frozenset({".py", ".pyi"})


@dataclass(slots=True)
class Checked:
    """What a check came to."""

    files: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def breaking(self) -> int:
        """Findings that will not work behind the gateway."""
        return sum(found.rule.breaks for found in self.findings)


def check_paths(paths: Sequence[Path], exclude: Sequence[str] = ()) -> Iterator[list[Finding]]:
    """Check file after file; one list for each, so that somebody can count along.

    Args:
        paths: Files, whatever their names, and trees, of which Python files and settings are taken.
        exclude: Globs over the paths as they are shown; what matches is passed over.

    Raises:
        ConfigurationError: a path is not there.
    """
    for path in paths:
        if not path.exists():
            raise ConfigurationError(f"{path}: no such file or folder")
    for path in dict.fromkeys(file for top in paths for file in _files(top)):
        if not any(fnmatch.fnmatch(str(path), pattern) for pattern in exclude):
            yield check_file(path)


def check_file(path: Path) -> list[Finding]:
    """The findings of one file, those with a reasoned allowance left out."""
    shown = str(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return [Finding(shown, 1, 1, "MG001", f"larger than {MAX_FILE_BYTES // MIB} MiB")]
        python = _is_python(path)
        text = _read(path, python=python)
    except (OSError, UnicodeDecodeError, SyntaxError) as error:
        return [Finding(shown, 1, 1, "MG001", str(error))]
    find = find_in_python if python else find_in_text
    return heed_allowances(find(text, shown), text, shown)


def _read(path: Path, *, python: bool) -> str:
    if python:  # a source file may declare its encoding, PEP 263
        with tokenize.open(path) as file:
            return file.read()
    return path.read_text(encoding="utf-8")


def _is_python(path: Path) -> bool:
    if path.suffix in _PYTHON:
        return True
    if path.suffix or path.name in TEXT_NAMES:
        return False
    with path.open("rb") as file:
        first = file.readline(128)
    return first.startswith(b"#!") and b"python" in first


def _files(top: Path) -> Iterator[Path]:
    if top.is_file():
        yield top
        return
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(set(folders) - PASSED_OVER)
        for name in sorted(names):
            path = Path(folder, name)
            if _is_of_interest(path):
                yield path


def _is_of_interest(path: Path) -> bool:
    return (
        path.suffix in _PYTHON | TEXT_SUFFIXES
        or path.name in TEXT_NAMES
        or fnmatch.fnmatch(path.name, REQUIREMENTS)
    )
