"""What every call understands beside its own arguments, by keyword only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from mallku_client.answers import Answer


class CallOptions(TypedDict, total=False):
    """How one call is carried out.

    Attributes:
        timeout: All attempts and waits together, seconds; the client's setting by default.
        idempotency_key: Made by the caller, so that the command keeps its name over restarts: sent
            again with the same key, it has its effect once (kept for 24 h).
        on_answer: Called with the whole `Answer` (receipt, id, whether it was replayed) before the
            method returns its result.
        model: The secured model in whose name documents are read or written, where the policy asks
            for one (`requires_security`).
    """

    timeout: float | None
    idempotency_key: str | None
    on_answer: Callable[[Answer], object] | None
    model: str | None
