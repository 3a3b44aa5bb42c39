"""The answers of a real server, and our own beside them.

`tests/stores/golden` holds the queries, the data and the notes about both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mallku_contracts import arguments as a
from mallku_contracts.aql.binding import check_run
from mallku_contracts.aql.parsing import parse
from mallku_contracts.errors import MallkuError
from mallku_contracts.limits import MIB
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.subjects import NO_COLLECTION
from mallku_workers.stores.base import Work
from mallku_workers.stores.embedded.aql.evaluate import Circumstances, Execution, evaluate
from mallku_workers.stores.embedded.aql.source import SessionSource
from mallku_workers.stores.embedded.catalog import Catalog, load_catalog
from mallku_workers.stores.embedded.collections import create_collection
from mallku_workers.stores.embedded.graphs import create_graph
from mallku_workers.stores.embedded.indexes import create_index
from mallku_workers.stores.embedded.schema import connect, prepare_file
from mallku_workers.stores.embedded.session import Session
from mallku_workers.stores.embedded.settings import EmbeddedSettings
from mallku_workers.stores.embedded.writes import insert_new

GOLDEN: Final = Path(__file__).parents[3] / "stores" / "golden"
ROWS: Final[list[dict[str, Any]]] = [
    json.loads(line) for line in (GOLDEN / "aql-golden.jsonl").read_text().splitlines()
]
DATASET: Final[dict[str, Any]] = json.loads((GOLDEN / "dataset.json").read_text())
NOW_MS: Final = 1_760_000_000_000
DATABASE: Final = "aql_corpus"
_TOLERANCE: Final = 1e-9
_WORK: Final = Work(
    OPERATIONS["aql"], "mallku", NO_COLLECTION, a.Aql(query="RETURN 1"), NOW_MS + 60_000
)


class World:
    """The dataset in a database, in which each query leaves nothing behind."""

    def __init__(self, path: Path) -> None:
        self._settings = EmbeddedSettings()
        prepare_file(path, self._settings)
        self._connection = connect(path, self._settings)
        self._catalog = Catalog(0, {})
        with self.transaction() as session:
            _load(session)
            session.keep_work(savepoint=False)
            session.finish()
            self._connection.execute("COMMIT")
        self._catalog = load_catalog(self._connection)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Generator[Session]:
        """A write transaction that is rolled back unless it was committed."""
        self._connection.execute("BEGIN IMMEDIATE")
        tick = self._connection.execute("SELECT tick FROM mallku_state").fetchone()[0]
        session = Session(self._connection, self._catalog, tick, self._settings, lambda: NOW_MS)
        session.begin_work(_WORK, savepoint=False)
        try:
            yield session
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def run(self, text: str, binds: dict[str, Any], options: dict[str, Any]) -> Answer:
        """What we answer."""
        with self.transaction() as session:
            try:
                execution = self._begin(session, text, binds, options)
                rows = list(execution.rows)
            except MallkuError as error:
                return Answer(error=error.error_code, message=str(error))
            return Answer(
                rows=rows,
                warnings=sorted({code for code, _ in execution.warnings}),
                written=execution.statistics.writes_executed,
                ignored=execution.statistics.writes_ignored,
                full_count=execution.statistics.full_count,
                after=_after(session),
            )

    def _begin(
        self, session: Session, text: str, binds: dict[str, Any], options: dict[str, Any]
    ) -> Execution:
        query = parse(text)
        check_run(query, binds)
        return evaluate(
            query,
            binds,
            SessionSource(session),
            Circumstances(
                now_ms=NOW_MS,
                memory_bytes=64 * MIB,
                full_count=options.get("fullCount", False),
                database=DATABASE,
            ),
        )


class Answer:
    """One answer of ours."""

    def __init__(
        self,
        *,
        rows: list[Any] | None = None,
        warnings: list[int] | None = None,
        written: int = 0,
        ignored: int = 0,
        full_count: int | None = None,
        after: dict[str, dict[str, Any]] | None = None,
        error: int | None = None,
        message: str = "",
    ) -> None:
        self.rows = rows
        self.warnings = warnings
        self.written = written
        self.ignored = ignored
        self.full_count = full_count
        self.after = after or {}
        self.error = error
        self.message = message


def _load(session: Session) -> None:
    for name, collection in DATASET["collections"].items():
        create_collection(session, name, a.CreateCollection(edge=collection["type"] == "edge"))
    for index in DATASET["indexes"]:
        if not any("[*]" in field for field in index["fields"]):
            create_index(
                session,
                index["collection"],
                a.CreateIndex(fields=index["fields"], unique=index["unique"]),
            )
    for name, collection in DATASET["collections"].items():
        for document in collection["documents"]:
            insert_new(session, session.catalog.collection(name), document)
    for name, graph in DATASET["graphs"].items():
        definitions = [
            a.EdgeDefinition(
                edge_collection=one["collection"],
                from_vertex_collections=one["from"],
                to_vertex_collections=one["to"],
            )
            for one in graph["edge_definitions"]
        ]
        create_graph(session, "@", a.CreateGraph(name=name, edge_definitions=definitions))


def _after(session: Session) -> dict[str, dict[str, Any]]:
    session.flush()
    found: dict[str, dict[str, Any]] = {}
    for name in {effect.collection for effect in session.effects}:
        table = session.catalog.collection(name).table
        bodies = session.connection.execute(f"SELECT body FROM {table}")  # noqa: S608 - a number
        documents = [json.loads(body) for (body,) in bodies]
        found[name] = {document["_key"]: document for document in documents}
    return found


def differences(row: dict[str, Any], answer: Answer) -> list[str]:
    """What our answer has otherwise than the real server's, in words; empty when nothing."""
    if "error" in row:
        wanted = row["error"]["num"]
        return [] if answer.error == wanted else [f"error {wanted}, got {_said(answer)}"]
    if answer.rows is None:
        return [f"an answer, got {_said(answer)}"]
    return [
        *_result(row, answer),
        *_warnings(row, answer),
        *_stats(row, answer),
        *_changed(row, answer),
    ]


def _said(answer: Answer) -> str:
    if answer.rows is None:
        return f"error {answer.error}: {answer.message}"
    return f"{answer.rows!r:.300}"


def _result(row: dict[str, Any], answer: Answer) -> list[str]:
    wanted: list[Any] = row["result"]
    loose = not row.get("inner_ordered", True)
    if row["ordered"]:
        same = alike(answer.rows, wanted, loose=loose)
    else:
        same = _same_multiset(answer.rows or [], wanted, loose=loose)
    return [] if same else [f"result {wanted!r:.300}\n      got    {answer.rows!r:.300}"]


def _warnings(row: dict[str, Any], answer: Answer) -> list[str]:
    wanted = sorted(set(row["warnings"]))
    return [] if answer.warnings == wanted else [f"warnings {wanted}, got {answer.warnings}"]


def _stats(row: dict[str, Any], answer: Answer) -> list[str]:
    wanted = (row["stats"]["writesExecuted"], row["stats"]["writesIgnored"])
    got = (answer.written, answer.ignored)
    problems = [] if got == wanted else [f"writes {wanted}, got {got}"]
    full_count = row["stats"].get("fullCount")
    if full_count is not None and answer.full_count != full_count:
        problems.append(f"fullCount {full_count}, got {answer.full_count}")
    return problems


def _changed(row: dict[str, Any], answer: Answer) -> list[str]:
    problems = []
    for name, wanted in row.get("after", {}).items():
        before = {one["_key"]: one for one in DATASET["collections"][name]["documents"]}
        now = answer.after.get(name, before)
        if len(now) != wanted["count"]:
            problems.append(f"{name}: {wanted['count']} documents, got {len(now)}")
        gone = sorted(set(before) - set(now))
        if gone != sorted(wanted["removed"]):
            problems.append(f"{name}: removed {wanted['removed']}, got {gone}")
        changed = [
            _plain(one) for key, one in now.items() if not alike(_plain(one), before.get(key))
        ]
        if not _same_multiset(changed, wanted["changed"], loose=False):
            problems.append(f"{name}: changed {wanted['changed']!r:.200}, got {changed!r:.200}")
    return problems


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in ("_id", "_rev")}


def alike(ours: Any, theirs: Any, *, loose: bool = False) -> bool:
    """Whether two values are the same, generated ones and the last digits apart."""
    if isinstance(theirs, str):
        return isinstance(ours, str) and _alike_texts(ours, theirs)
    if isinstance(ours, bool) or isinstance(theirs, bool):
        return ours is theirs
    if isinstance(ours, int | float) and isinstance(theirs, int | float):
        return math.isclose(ours, theirs, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    if isinstance(ours, list) and isinstance(theirs, list):
        return _same_multiset(ours, theirs, loose=True) if loose else _pairwise(ours, theirs)
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(
            alike(ours[name], theirs[name], loose=loose) for name in theirs
        )
    return ours is None and theirs is None


def _alike_texts(ours: str, theirs: str) -> bool:
    """Generated revisions and keys agree with whatever was generated here."""
    if theirs == "<rev>":
        return True
    before, generated, after = theirs.partition("<key>")
    return ours == theirs or bool(generated and ours.startswith(before) and ours.endswith(after))


def _pairwise(ours: list[Any], theirs: list[Any]) -> bool:
    return len(ours) == len(theirs) and all(map(alike, ours, theirs))


def _same_multiset(ours: list[Any], theirs: list[Any], *, loose: bool) -> bool:
    left = list(ours)
    for wanted in theirs:
        place = next((i for i, one in enumerate(left) if alike(one, wanted, loose=loose)), None)
        if place is None:
            return False
        del left[place]
    return not left
