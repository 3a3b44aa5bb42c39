"""Builds the dashboards beside this file; `--check` only says whether they are current.

    python deploy/grafana/build.py [--check]

What stands in them `boards.yaml` says; the JSON is what Grafana imports or provisions.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueGraphMode, LegendDisplayMode
from grafana_foundation_sdk.models.common import LegendPlacement as Placement
from grafana_foundation_sdk.models.dashboard import Dashboard, DataSourceRef, VariableRefresh

HERE: Final = Path(__file__).resolve().parent
SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
SPAN: Final = 12
STAT_HEIGHT, SERIES_HEIGHT = 4, 8
QUANTILES: Final = (0.5, 0.95)

Spec = dict[str, Any]


def build(uid: str, board: Spec) -> Dashboard:
    """The dashboard as Grafana knows it."""
    made = (
        boards.Dashboard(board["title"])
        .uid(uid)
        .description(board["text"])
        .tags(["mallku"])
        .refresh("10s")
        .time("now-1h", "now")
        .readonly()
        .with_variable(boards.DatasourceVariable("datasource").type("prometheus"))
    )
    if label := board.get("chooses"):
        made.with_variable(_choice(label))
    for title, panels in board["rows"].items():
        made.with_row(boards.Row(title))
        for panel in panels:
            made.with_panel(_stat(panel) if panel.get("kind") == "stat" else _series(panel))
    return made.build()


def _choice(label: str) -> boards.QueryVariable:
    return (
        boards.QueryVariable(label)
        .datasource(SOURCE)
        .query(f"label_values(mallku_commands_total, {label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(multi=True)
        .include_all(include_all=True)
    )


def _stat(panel: Spec) -> stat.Panel:
    made = stat.Panel().graph_mode(BigValueGraphMode.AREA).height(STAT_HEIGHT)
    made.title(panel["title"]).description(panel.get("text", "")).span(panel.get("span", SPAN))
    made.unit(panel.get("unit", "short")).datasource(SOURCE)
    for query in _queries(panel):
        made.with_target(query)
    return made


def _series(panel: Spec) -> timeseries.Panel:
    legend = common.VizLegendOptions().show_legend(show_legend=True)
    legend.display_mode(LegendDisplayMode.LIST).placement(Placement.BOTTOM)
    made = timeseries.Panel().fill_opacity(10).line_width(1).min(0).legend(legend)
    made.title(panel["title"]).description(panel.get("text", "")).span(panel.get("span", SPAN))
    made.unit(panel.get("unit", "short")).datasource(SOURCE).height(SERIES_HEIGHT)
    for query in _queries(panel):
        made.with_target(query)
    return made


def _queries(panel: Spec) -> Iterator[prometheus.Dataquery]:
    known = dict(_quantiles(**panel["quantiles"])) if "quantiles" in panel else panel["queries"]
    for number, (legend, expression) in enumerate(known.items()):
        query = prometheus.Dataquery().expr(expression).ref_id(chr(ord("A") + number))
        yield query.legend_format(legend) if legend else query


def _quantiles(metric: str, by: str, where: str = "") -> Iterator[tuple[str, str]]:
    for share in QUANTILES:
        rates = f"rate({metric}_bucket{where}[$__rate_interval])"
        expression = f"histogram_quantile({share}, sum by (le, {by}) ({rates}))"
        yield f"{{{{{by}}}}} p{share * 100:.0f}", expression


def main() -> int:
    """Write what is out of date; with `--check`, name it and return 1."""
    stale = []
    for uid, board in yaml.safe_load((HERE / "boards.yaml").read_text("utf-8")).items():
        path = HERE / f"{uid}.json"
        text = json.dumps(build(uid, board), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
        if not path.exists() or path.read_text("utf-8") != text:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(text, "utf-8")
    print("\n".join(f"{name}: out of date" for name in stale) or "all current")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
