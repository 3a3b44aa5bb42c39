"""The worker's log: lines of JSON for surprises and turns of its life, none for a mere command."""

from __future__ import annotations

import sys

import structlog


def configure(level: str, **always: str) -> None:
    """Write lines of at least `level` to standard error; `always` stands in each of them."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**always)
