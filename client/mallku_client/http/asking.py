"""What every request brings beside its own content: who asks, how long, under which key."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Depends, Header, Request

from mallku_client.answers import Answer
from mallku_client.collection import Collection
from mallku_client.database import SecuredDatabaseInterface
from mallku_client.http.carrying import CarriedCommands
from mallku_client.http.door import Door
from mallku_client.http.settings import MAX_WAIT_S
from mallku_client.options import CallOptions
from mallku_contracts.errors import InvalidArguments
from mallku_contracts.limits import MAX_IDEMPOTENCY_KEY_CHARS, MAX_NAME_CHARS
from mallku_contracts.tracing import HEADER, read_traceparent

_WAIT: Final = re.compile(r"wait\s*=\s*\"?(\d{1,4})\"?", re.IGNORECASE)
_CONDITIONS: Final = ("If-Match", "If-None-Match")
_KEY: Final = re.compile(rf"[\x21-\x7e]{{1,{MAX_IDEMPOTENCY_KEY_CHARS}}}")

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Sent again with the same key and content, a change is made once; the answer"
        " is remembered for 24 h.",
    ),
]
Prefer = Annotated[
    str | None,
    Header(
        description="`wait=SECONDS` bounds the wait for the answer; `respond-async` makes a job"
    ),
]


@dataclass(slots=True)
class Asking:
    """One request, about to become commands.

    Attributes:
        many: Whether more than one command may be sent.
        answer: What came of the last command.
    """

    commands: CarriedCommands
    db: SecuredDatabaseInterface
    principal: str
    wait_s: float
    key: str | None
    is_async: bool
    many: bool
    answer: Answer | None = field(default=None)

    @property
    def options(self) -> CallOptions:
        """How a change is carried out."""
        return {
            "timeout": self.wait_s,
            "idempotency_key": self.key,
            "on_answer": self._keep,
        }

    @property
    def reading(self) -> CallOptions:
        """How a question is asked; it has no key."""
        return {"timeout": self.wait_s}

    def collection(self, name: str) -> Collection:
        """One collection; `InvalidSubject` when that is no name."""
        return self.db.collection(name)

    def headers(self) -> dict[str, str]:
        """What there is to say of a change: its id, its receipt, and whether it was remembered."""
        answer = self.answer
        if answer is None:
            return {}
        said = {"Mallku-Id": answer.id}
        if answer.receipt is not None:
            place = answer.receipt
            said["Mallku-Receipt"] = (
                f"{place['stream']}; sequence={place['sequence']}; sha256={place['hash'].hex()}"
            )
        if answer.replayed:
            said["Mallku-Replayed"] = "true"
        return said

    def _keep(self, answer: Answer) -> None:
        self.answer = answer


async def read_asking(
    request: Request,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Asking:
    """Who asks, for how long, under which key; whoever is nobody is refused here."""
    door: Door = request.app.state.door
    who = door.keeper.who(request)
    request.scope["mallku.principal"] = who.principal
    _refuse_unknown(request)
    _refuse_other_conditions(request)
    wait_s = _wait_s(prefer, door.settings.wait_s)
    commands = door.commands(who, wait_s, read_trace(request))
    return Asking(
        commands=commands,
        db=door.database(commands),
        principal=who.principal,
        wait_s=wait_s,
        key=_checked_key(idempotency_key),
        is_async=prefer is not None and "respond-async" in prefer.lower(),
        many=who.many,
    )


Asked = Annotated[Asking, Depends(read_asking)]


def read_trace(request: Request) -> str:
    """The trace that a request belongs to, as its caller says it; empty where none is well-formed.

    It goes on as it came (W3C Trace Context, section 3.2).
    """
    said = request.headers.getlist(HEADER)
    is_one = len(said) == 1 and said[0].isprintable() and read_traceparent(said[0])
    return said[0] if is_one else ""


def _refuse_unknown(request: Request) -> None:
    """Refuse what stands behind the question mark and means nothing; it was meant to."""
    known = {each.alias for each in request.scope["route"].dependant.query_params}
    for name in request.query_params:
        if name not in known:
            raise InvalidArguments(f"{name[:MAX_NAME_CHARS]!r} is no parameter of this path")


def _refuse_other_conditions(request: Request) -> None:
    """Refuse a condition that a path does not keep, or that stands twice: it was meant to hold."""
    kept = {each.alias for each in request.scope["route"].dependant.header_params}
    for name in _CONDITIONS:
        said = request.headers.getlist(name)
        if said and name not in kept:
            raise InvalidArguments(f"{name}: {request.method} of this path keeps no such condition")
        if len(said) > 1:
            raise InvalidArguments(f"{name}: it stands {len(said)} times")


def _wait_s(prefer: str | None, default_s: float) -> float:
    found = _WAIT.search(prefer or "")
    if found is None:
        return default_s
    return min(max(float(found.group(1)), 0.1), MAX_WAIT_S)


def _checked_key(key: str | None) -> str | None:
    if key is None:
        return None
    bare = key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key
    if not _KEY.fullmatch(bare):
        raise InvalidArguments(
            f"Idempotency-Key: expected 1 to {MAX_IDEMPOTENCY_KEY_CHARS} visible ASCII characters"
        )
    return bare
