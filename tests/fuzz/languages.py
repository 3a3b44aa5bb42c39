"""Texts that people write: queries, and policies."""

from __future__ import annotations

import json
import re
import sqlite3
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Final

from mallku_contracts import codec
from mallku_contracts.aql.allow import Allowance, refusals
from mallku_contracts.aql.analysis import analyse
from mallku_contracts.aql.binding import check_run
from mallku_contracts.aql.parsing import parse
from mallku_contracts.aql.tree import Query
from mallku_contracts.errors import InternalError, MallkuError
from mallku_contracts.limits import MIB
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.policy import CompiledPolicy, PolicyError, check_policy
from mallku_contracts.subjects import CommandSubject
from mallku_workers.stores.embedded.aql.evaluate import Circumstances, evaluate
from mallku_workers.stores.embedded.aql.source import SessionSource
from mallku_workers.stores.embedded.paging import mended
from mallku_workers.stores.embedded.session import Session
from tests.fuzz.mutate import mutated
from tests.fuzz.seeds import QUERIES, policies
from tests.fuzz.structures import ODD_VALUES
from tests.fuzz.targets import Target
from tests.workers.embedded.aql.golden import NOW_MS, World

BINDS_BEGIN: Final = b"\x00"
"""Stands between a query's text and its bind values as JSON."""

MAX_EVALUATION_MS: Final = 5_000.0
"""What running one query over the small data may cost, milliseconds of CPU time."""

MAX_POLICY_MS: Final = 1_000.0
"""What reading one policy may cost, milliseconds of CPU time."""

QUERY_LIFE_MS: Final = 2_000
"""A query's deadline by the wall clock, milliseconds."""

MAX_ROWS: Final = 10_000
"""Rows of one query that are asked for."""

_WORD: Final = re.compile(rb"[A-Za-z_][A-Za-z_0-9]*|[0-9.]+|\"[^\"]*\"|'[^']*'|\s+|.", re.DOTALL)
_MEMORY_BYTES: Final = 16 * MIB


# Queries


def query_target() -> Target:
    """Everything that is done with a query before it runs."""
    return Target("query", run_query, make_query, _query_seeds(), weight=0.6)


def evaluation_target() -> Target:
    """Running a query in the embedded store."""
    return Target(
        "evaluation",
        run_evaluation,
        make_query,
        _query_seeds(),
        limit_ms=MAX_EVALUATION_MS,
        weight=0.3,
    )


def _query_seeds() -> tuple[bytes, ...]:
    return tuple(
        text.encode() + BINDS_BEGIN + json.dumps(binds).encode() for text, binds in QUERIES
    )


def _split(data: bytes) -> tuple[str, dict[str, Any]]:
    text, _, packed = data.partition(BINDS_BEGIN)
    try:
        binds = json.loads(packed)
        codec.check_plain(binds)
    except (ValueError, RecursionError):
        binds = {}
    return text.decode("utf-8", "replace"), binds if isinstance(binds, dict) else {}


def _checked(text: str, binds: dict[str, Any]) -> Query:
    query = parse(text)
    check_run(query, binds)
    refusals(query, Allowance())
    analysis = analyse(query)
    analysis.read_names(binds)
    analysis.write_names(binds)
    return query


def _refuse_surprise(error: MallkuError) -> None:
    assert error.code != InternalError.code
    codec.pack({"error": error.to_wire()})


def run_query(data: bytes) -> None:
    """A text is a query, or it is refused with a code."""
    text, binds = _split(data)
    try:
        _checked(text, binds)
    except MallkuError as error:
        _refuse_surprise(error)


class _TimedWorld(World):
    """The small data, with a clock that goes: a query's deadline is near."""

    @contextmanager
    def transaction(self) -> Generator[Session]:
        """As the world's own, at a time that begins with the query."""
        with super().transaction() as session:
            session.deadline_ms = NOW_MS + QUERY_LIFE_MS
            began_s = time.monotonic()
            session._clock = lambda: NOW_MS + int((time.monotonic() - began_s) * 1_000)
            yield session


@cache
def _world() -> _TimedWorld:
    folder = tempfile.TemporaryDirectory(prefix="mallku-fuzz-")
    world = _TimedWorld(Path(folder.name) / "small.sqlite")
    world.folder = folder  # type: ignore[attr-defined] # lives as long as the world
    return world


def run_evaluation(data: bytes) -> None:
    """A query gives rows that can be sent, or it is refused with a code."""
    text, binds = _split(data)
    with _world().transaction() as session:
        try:
            query = _checked(text, binds)
            circumstances = Circumstances(now_ms=NOW_MS, memory_bytes=_MEMORY_BYTES)
            execution = evaluate(query, binds, SessionSource(session), circumstances)
            rows = list(islice(execution.rows, MAX_ROWS))
        except MallkuError as error:
            _refuse_surprise(error)
            return
        except (RecursionError, sqlite3.Error):
            # The shell around a reading query turns both into coded errors.
            assert not analyse(parse(text)).modifies, "a changing query ended in a surprise"
            return
    codec.pack_trusted(mended(rows))


@cache
def _words() -> tuple[tuple[bytes, ...], ...]:
    return tuple(tuple(_WORD.findall(text.encode())) for text, _ in QUERIES)


def make_query(rng: Random) -> bytes:
    """A golden query with its words exchanged, or with its bytes changed."""
    number = rng.randrange(len(QUERIES))
    binds = dict(QUERIES[number][1])
    words = list(_words()[number])
    if rng.random() < 0.75:
        for _ in range(rng.randint(1, 4)):
            _change_words(rng, words)
        text = b"".join(words)
    else:
        text = mutated(rng, b"".join(words), b"".join(rng.choice(_words())))
    if binds and rng.random() < 0.3:
        binds[rng.choice(list(binds))] = rng.choice(ODD_VALUES)
    return text.replace(BINDS_BEGIN, b"") + BINDS_BEGIN + json.dumps(binds, default=repr).encode()


def _change_words(rng: Random, words: list[bytes]) -> None:
    other = rng.choice(_words())
    place, from_place = rng.randrange(len(words) + 1), rng.randrange(len(other))
    count = rng.choice((1, 1, 1, 2, 3, 8))
    match rng.randrange(5):
        case 0:
            words[place : place + count] = other[from_place : from_place + count]
        case 1:
            words[place:place] = other[from_place : from_place + count]
        case 2:
            del words[place : place + count]
        case 3:
            words[place:place] = words[place : place + count] * rng.choice((1, 2, 30))
        case _:
            odd = (b"0", b"-1", b"1e308", b"9223372036854775808", b"null", b"[]", b"{}", b"''",
                   b"@@a", b"@a", b"(", b")", b"[*]", b"..", b"!", b"NOT", b"RETURN")  # fmt: skip
            words[place : place + 1] = [b" ", rng.choice(odd), b" "]


# Policies


def policy_target() -> Target:
    """Policy documents."""
    return Target(
        "policy",
        run_policy,
        make_policy,
        tuple(text.encode() for text in policies()),
        limit_ms=MAX_POLICY_MS,
        weight=0.03,
    )


def _refuse_placeless(message: str) -> None:
    assert message.startswith("policy.yaml:"), "a refusal that does not say where"


def run_policy(data: bytes) -> None:
    """A text is a policy that can decide, or it is refused with a reason."""
    try:
        policy, _ = check_policy(data.decode("utf-8", "replace"), "policy.yaml")
    except PolicyError as error:
        _refuse_placeless(str(error))
        return
    compiled = CompiledPolicy(policy)
    for name in ("insert", "find"):
        subject = CommandSubject.build("mallku", "main", "memory_anchors", name)
        try:
            grant = compiled.decide(
                subject, OPERATIONS[name], roles=frozenset(policy.roles), issuer="one"
            )
            grant.bind("mallku", NOW_MS)
        except MallkuError as error:
            _refuse_surprise(error)


_YAML: Final = (
    b"&a ",
    b"*a",
    b"!!python/object:os.system ",
    b"<<: ",
    b"? ",
    b"- ",
    b"|\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\n",
    b"  ",
    b"\t",
    b": ",
    b"'",
    b'"',
    b"# ",
    b"...\n",
    b"---\n",
    b"!!binary ",
    b"2001-01-01",
    b"0x10",
    b".nan",
    b".inf",
    b"~",
    b"1e400",
    b"9" * 400,
    b"[" * 100,
    b"{a: " * 60,
    b"yes",
    b"%YAML 1.2\n",
    b"\xff",
    b"$now",
    b"$principal",
    b'"*"',
    b"any",
    b"all",
    b"not",
    b"in",
    b"prefix",
    b"`all`",
)


def make_policy(rng: Random) -> bytes:
    """A policy with its lines, words or bytes changed."""
    data = rng.choice(policies()).encode()
    kind = rng.random()
    if kind < 0.3:
        return mutated(rng, data)
    if kind < 0.6:
        lines = data.splitlines(keepends=True)
        for _ in range(rng.randint(1, 3)):
            place, other = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[place] = rng.choice((b"", lines[other], b"  " + lines[place], lines[place] * 2))
        return b"".join(lines)
    words = _WORD.findall(data)
    for _ in range(rng.randint(1, 4)):
        words[rng.randrange(len(words))] = rng.choice((*_YAML, rng.choice(words)))
    return b"".join(words)
