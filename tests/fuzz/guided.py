"""One target under atheris, which looks for inputs that reach code no input has reached.

`python -m tests.fuzz.guided TARGET SECONDS FOLDER`: the corpus and what was found stay in FOLDER.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, Final

MAX_INPUT_BYTES: Final = 16_384
"""The largest input that is tried, bytes."""

INPUT_TIMEOUT_S: Final = 20
"""An input that takes longer is a find, seconds."""


def main() -> None:
    """Fuzz until the time is over; atheris ends the process itself, non-zero with a find."""
    name, seconds, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["mallku_contracts", "mallku_workers"]):
        from tests.fuzz.catalogue import load
        from tests.fuzz.measure import Worst

        target = load(name)
    for seed in target.seeds:
        target.run(seed)
    worst = Worst(limit_ms=target.limit_ms * INSTRUMENTED)
    corpus = _corpus(folder / f"corpus-{name}", target.seeds)
    command = [
        "fuzz",
        str(corpus),
        f"-max_total_time={seconds}",
        f"-max_len={MAX_INPUT_BYTES}",
        f"-timeout={INPUT_TIMEOUT_S}",
        f"-artifact_prefix={folder}/{name}-",
        "-rss_limit_mb=4096",
    ]
    atheris.Setup(command, lambda data: worst.run(target.run, data))
    atheris.Fuzz()


INSTRUMENTED: Final = 10
"""How much slower instrumented code may be."""


def _corpus(folder: Path, seeds: tuple[bytes, ...]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (folder / f"seed-{number}").write_bytes(seed)
    return folder


if __name__ == "__main__":
    main()
