"""`mallku-gateway worker`: one worker out of the environment, without the terminal library."""

from __future__ import annotations

import sys

from mallku_contracts.errors import ConfigurationError, MallkuError
from mallku_deploy.extras import require_workers


def main() -> int:
    """Run until SIGTERM; 1 with one coded line when the worker cannot start."""
    try:
        require_workers()
        _run()
    except MallkuError as error:
        print(f"{error.code} {error.number}  {error.message}", file=sys.stderr)  # noqa: T201 - the quick path draws nothing
        return 1
    return 0


def _run() -> None:
    from pydantic import ValidationError

    from mallku_contracts.wording import settings_complaints
    from mallku_workers.main import main as run
    from mallku_workers.settings import WorkerSettings

    try:
        settings = WorkerSettings()  # pyright: ignore[reportCallIssue] - out of the environment
    except ValidationError as error:
        wrong = settings_complaints(error, WorkerSettings, "MALLKU_WORKER_")
        raise ConfigurationError(wrong) from None
    run(settings)
