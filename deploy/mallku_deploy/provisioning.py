"""`store plan` and `store apply`: a declaration, the store that is meant, and the steps between."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from mallku_broker.files import read_text
from mallku_contracts.errors import ConfigurationError, MallkuError
from mallku_deploy.extras import require_workers
from mallku_deploy.provisioning_table import (
    show_left_to_name,
    show_plan,
    show_step,
    show_summary,
)
from mallku_workers.stores.arango.administration import arango_settings
from mallku_workers.stores.copying import read_spec
from mallku_workers.stores.provisioning import (
    ArangoHands,
    Declaration,
    EmbeddedHands,
    Hands,
    Plan,
    make_plan,
    read_declaration,
    read_drop,
)

KINDS: Final = ("embedded", "arango")
"""The stores by name."""


def read_file(file: Path, drops: Sequence[str]) -> Declaration:
    """The declaration in a file, and what else may be dropped.

    Raises:
        ConfigurationError: one `file:line:column: what` line for each problem.
    """
    require_workers()
    declaration = read_declaration(read_text(file, "declaration"), str(file))
    for drop in drops:
        read_drop(drop)
    return declaration.model_copy(update={"drop": (*declaration.drop, *drops)})


@dataclass(frozen=True, slots=True)
class Meant:
    """Which store: `embedded` with its directory, or `arango` with its URL.

    Attributes:
        url: None where the environment says it.
        folder: What password files are relative to.
    """

    kind: str
    directory: Path
    url: str | None
    folder: Path

    @classmethod
    def of(cls, store: str, directory: Path, folder: Path) -> Meant:
        """Read `embedded`, `embedded:DIR`, `arango` or `arango:URL`, as `store copy` takes them.

        Raises:
            ConfigurationError: it is none of these, or names a database.
        """
        if store in KINDS:
            return cls(store, directory, None, folder)
        if store.partition(":")[0] not in KINDS:
            raise ConfigurationError(
                f"--store {store!r:.200}: write embedded, embedded:DIR, arango or arango:URL"
            )
        if "#" in store:
            raise ConfigurationError(
                f"--store {store!r:.200}: the declaration names the databases, write no #database"
            )
        spec = read_spec(store)
        if spec.kind == "arango":
            return cls(spec.kind, directory, spec.place, folder)
        return cls(spec.kind, Path(spec.place), None, folder)

    def hands(self) -> Hands:
        """What looks at it and changes it; `ConfigurationError` names a setting that is wrong."""
        if self.kind == "arango":
            given = {} if self.url is None else {"url": self.url}
            return ArangoHands(arango_settings(**given), self.folder)
        return EmbeddedHands(self.directory.absolute())


async def look(declaration: Declaration, meant: Meant) -> Plan:
    """What would have to be done."""
    async with _hands(meant) as hands:
        return await _plan(hands, declaration)


async def carry_out(declaration: Declaration, meant: Meant, *, yes: bool, compact: bool) -> bool:
    """Do what is to be done, after asking; whether the store is as declared now.

    Raises:
        MallkuError: of the step that failed; those before it are done.
    """
    async with _hands(meant) as hands:
        plan = await _plan(hands, declaration)
        show_plan(plan, compact=compact)
        if plan.steps and not yes and not typer.confirm("Do this?", default=False, err=True):
            return False
        for number, step in enumerate(plan.steps):
            try:
                await hands.carry_out(step, declaration)
            except MallkuError:
                show_summary(number, len(plan.steps), failed=step)
                raise
            if not compact:
                show_step(step)
        show_summary(len(plan.steps), len(plan.steps), failed=None)
        show_left_to_name(plan)
        return not plan.blocked


async def _plan(hands: Hands, declaration: Declaration) -> Plan:
    drops = [read_drop(drop) for drop in declaration.drop]
    return make_plan(declaration, await hands.look(declaration), drops)


@asynccontextmanager
async def _hands(meant: Meant) -> AsyncGenerator[Hands]:
    hands = meant.hands()
    try:
        yield hands
    finally:
        await hands.close()
