"""What `migrate check` looks for: one rule for each way around the gateway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Rule:
    """One way around the gateway, with what takes its place.

    `breaks` tells what will not work at all behind the gateway from what works and should change.
    """

    code: str
    name: str
    what: str
    instead: str
    breaks: bool = True


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One place where a rule applies. Lines and columns count from 1; columns in characters."""

    path: str
    line: int
    column: int
    code: str
    seen: str

    @property
    def rule(self) -> Rule:
        """The rule that applies."""
        return RULES[self.code]


_GET: Final = "`from mallku_client.mallku import get_database` and `db = get_database()`"


def _by_code(rules: Iterable[Rule]) -> Mapping[str, Rule]:
    return {rule.code: rule for rule in rules}


RULES: Final[Mapping[str, Rule]] = _by_code(
    (
        Rule(
            "MG001",
            "unreadable",
            "the file cannot be read as what its name says",
            "mend it, or exclude it with `--exclude`: what is not read is not checked",
        ),
        Rule(
            "MG002",
            "allowance-without-reason",
            "a `# migrate: allow[…]` that cannot be heeded",
            "`# migrate: allow[MG103] why this may stay`",
        ),
        Rule(
            "MG101",
            "driver-import",
            "a database driver is imported",
            _GET + "; only the gateway's workers have the driver",
        ),
        Rule("MG102", "driver-client", "a connection to the database is opened", _GET),
        Rule(
            "MG103",
            "database-address",
            "the database's own address",
            "`MALLKU_API_GATEWAY_URL`: the database is not reachable from here",
        ),
        Rule(
            "MG104",
            "database-http",
            "a path of the database's HTTP interface",
            "the operation of that name on `db` or its collections",
        ),
        Rule(
            "MG105",
            "database-credentials",
            "credentials or address of the database are read from the environment",
            "nothing: `MALLKU_KEY_FILE` and its neighbours say who a service is;"
            " only workers log in",
        ),
        Rule(
            "MG106",
            "past-the-interface",
            "`_database` of somebody else's object",
            "`db.collection(name)` or `db.aql.execute(…)`; `_database` goes through the gateway"
            " too, and creates no collection at the first write",
            breaks=False,
        ),
        Rule(
            "MG107",
            "query-from-words",
            "the text of a query is put together at run time",
            "a fixed text with bind values: `aql.execute(text, bind_vars={…})`",
            breaks=False,
        ),
        Rule(
            "MG108",
            "direct-on-secured",
            "a direct operation on a secured collection",
            "its secured form, `insert_secured(model)` for `insert(document)`",
        ),
        Rule(
            "MG109",
            "driver-dependency",
            "a database driver among the dependencies",
            "`mallku-gateway`: the driver comes with the workers, `mallku-gateway[workers]`",
        ),
        Rule(
            "MG110",
            "awaits-what-may-be-none",
            "a `get` is awaited of a database that was obtained without `await`",
            "`db = await get_database()`, or the `get` without `await`: a missing document is"
            " None, which cannot be awaited",
        ),
        Rule(
            "MG111",
            "is-true",
            "an answer is compared by `is` with true or false",
            "`if db.has_collection(name)`, or `await` before it",
        ),
    )
)
