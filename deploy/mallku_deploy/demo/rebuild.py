"""The end of the story: from the trail alone the database is made once more, and is the same."""

from __future__ import annotations

from mallku_client.trail import AuditReader
from mallku_deploy.auditing.rebuild_order import Order
from mallku_deploy.auditing.rebuild_report import differences
from mallku_deploy.auditing.rebuild_run import Report, make_again
from mallku_deploy.demo.promises import Promises
from mallku_deploy.house import DATABASE, House


class Quiet:
    """A watch that says nothing: the promise does."""

    def begin(self, phase: str, collection: str, total: int) -> None:
        """Something begins."""

    def advance(self, documents: int) -> None:
        """Something goes on."""

    def note(self, text: str) -> None:
        """Something should be known."""


async def rebuild_it(house: House, reader: AuditReader, promises: Promises) -> None:
    """Rebuild the database into files beside the gateway's own, and compare the two."""
    order = Order(
        into=f"embedded:{house.root / 'again'}",
        database=DATABASE,
        compare_with=f"embedded:{house.store}",
        state=house.root / "rebuild.sqlite",
    )
    report = await make_again(reader, order, Quiet())
    promises.keep(
        "from the trail alone the database is made again, the same field by field",
        report.good,
        _seen(report),
    )


def _seen(report: Report) -> str:
    found = report.compared
    if found is None or not report.good:
        wrong = [*report.rebuilt.missing, *report.rebuilt.lost]
        wrong += found.catalog if found else []
        wrong += [line for one in (found.collections if found else ()) for line in differences(one)]
        return "; ".join(wrong[:3])
    documents = sum(one.documents for one in found.collections)
    return (
        f"{report.rebuilt.steps:,} commits, {documents:,} documents under the same keys in"
        f" {len(found.collections)} collections"
    )
