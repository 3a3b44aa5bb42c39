"""Dashboards and alerts are what their sources say; each alert fires, and only when it should."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mallku_contracts import errors
from mallku_workers.observing.definitions import METRICS
from tests.support.prometheus import promtool

ROOT = Path(__file__).resolve().parents[1]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
BOARDS = sorted((ROOT / "deploy" / "grafana").glob("mallku-*.json"))
RULES: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]

WELL = {
    'up{job="mallku-gateway", worker="w1"}': "1x60",
    'mallku_ready{worker="w1"}': "1x60",
    'mallku_audit_answers{worker="w1"}': "1x60",
    'mallku_audit_stream_bytes{worker="w1"}': "100x60",
    'mallku_audit_stream_limit_bytes{worker="w1"}': "1000x60",
    'mallku_audit_uncovered_records{worker="w1"}': "5x60",
    'mallku_breaker_state{worker="w1", class="write", state="open"}': "0x60",
    'mallku_commands_total{worker="w1", code="ok"}': "0+100x60",
    'mallku_turned_away_total{worker="w1"}': "0x60",
    'mallku_command_seconds_bucket{worker="w1", access="write", le="0.01"}': "0+100x60",
    'mallku_command_seconds_bucket{worker="w1", access="write", le="5.0"}': "0+100x60",
    'mallku_command_seconds_bucket{worker="w1", access="write", le="+Inf"}': "0+100x60",
    'mallku_policy_version{worker="w1"}': "3x60",
    'mallku_clock_apart_seconds{worker="w1"}': "0.01x60",
    'mallku_token_expiry_timestamp_seconds{worker="w1"}': "100000x60",
    'mallku_event_loop_lag_median_seconds{worker="w1"}': "0.002x60",
    'mallku_replies_dropped_total{worker="w1"}': "0x60",
    'mallku_jobs_ended_total{worker="w1", fate="dead"}': "0x60",
    'mallku_jobs{worker="w1", state="stored"}': "3x60",
}
"""A worker that is well, by its series, a sample every 15 s."""

ILL: dict[str, dict[str, str]] = {
    "MallkuNobodyReady": {'mallku_ready{worker="w1"}': "0x60"},
    "MallkuWorkerNotReady": {'mallku_ready{worker="w1"}': "0x60"},
    "MallkuWorkerGone": {'up{job="mallku-gateway", worker="w1"}': "0x60"},
    "MallkuTrailSilent": {'mallku_audit_answers{worker="w1"}': "0x60"},
    "MallkuTrailFilling": {'mallku_audit_stream_bytes{worker="w1"}': "900x60"},
    "MallkuTrailUncovered": {'mallku_audit_uncovered_records{worker="w1"}': "60000x60"},
    "MallkuStoreLeftAlone": {
        'mallku_breaker_state{worker="w1", class="write", state="open"}': "1x60"
    },
    "MallkuSurprises": {'mallku_commands_total{worker="w1", code="internal"}': "0+1x60"},
    "MallkuForgeries": {'mallku_commands_total{worker="w1", code="replayed"}': "0+100x60"},
    "MallkuBusy": {'mallku_turned_away_total{worker="w1"}': "0+1000x60"},
    "MallkuSlow": {'mallku_command_seconds_bucket{worker="w1", access="write", le="0.01"}': "0x60"},
    "MallkuPoliciesDiffer": {'mallku_policy_version{worker="w2"}': "4x60"},
    "MallkuClockApart": {'mallku_clock_apart_seconds{worker="w1"}': "-9x60"},
    "MallkuTokenEnding": {'mallku_token_expiry_timestamp_seconds{worker="w1"}': "700x60"},
    "MallkuLoopLate": {'mallku_event_loop_lag_median_seconds{worker="w1"}': "0.9x60"},
    "MallkuRepliesDropped": {'mallku_replies_dropped_total{worker="w1"}': "0+1x60"},
    "MallkuJobsDie": {'mallku_jobs_ended_total{worker="w1", fate="dead"}': "0+1x60"},
    "MallkuJobsWait": {'mallku_jobs{worker="w1", state="stored"}': "2000x60"},
}
"""What is otherwise when an alert is to fire."""

ALSO = {
    "MallkuNobodyReady": {"MallkuWorkerNotReady"},
    "MallkuWorkerNotReady": {"MallkuNobodyReady"},
}
"""What fires with it."""


HONEST = {
    "command_from_future",
    "malformed_body",
    "malformed_envelope",
    "stale_command",
    "token_expired",
    "unsupported_version",
    "unverified_reply",
}
"""Refusals of envelopes that a wrong clock, an old client or a slow network brings about."""


def expressions(board: Path) -> list[str]:
    """Every expression in a dashboard."""
    return [
        target["expr"]
        for panel in json.loads(board.read_text())["panels"]
        for target in panel.get("targets", ())
    ]


def test_dashboards_are_what_the_table_says() -> None:
    """The JSON is what `deploy/grafana/build.py` makes of `boards.yaml`."""
    pytest.importorskip("grafana_foundation_sdk")
    done = subprocess.run(
        [sys.executable, "deploy/grafana/build.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr} (make docs)"


def test_only_metrics_that_exist_are_asked_for() -> None:
    """Each `mallku_` name in dashboards and rules is in the table of metrics."""
    known = set(METRICS) | {
        f"{name}_{part}"
        for name, metric in METRICS.items()
        if metric.kind == "histogram"
        for part in ("bucket", "sum", "count")
    }
    asked = [each for board in BOARDS for each in expressions(board)]
    asked += [rule["expr"] for rule in RULES]
    names = {name for each in asked for name in re.findall(r"mallku_\w+", each)}
    assert names
    assert names <= known


def test_codes_in_rules_are_codes() -> None:
    """An alert that waits for an error's code waits for one that there is."""
    codes = {
        kind.code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.MallkuError)
    }
    for rule in RULES:
        for found in re.findall(r'code=~?"([^"]+)"', rule["expr"]):
            assert set(found.split("|")) <= codes


def test_every_code_of_a_forgery_counts_as_one() -> None:
    """Each refusal of an envelope is what somebody forged, or known to happen to the honest."""
    refusals = {
        kind.code
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.EnvelopeError)
        and kind is not errors.EnvelopeError
    }
    rule = next(each for each in RULES if each["alert"] == "MallkuForgeries")
    counted = set(re.findall(r'code=~"([^"]+)"', rule["expr"])[0].split("|"))
    assert refusals - counted == HONEST
    assert counted & HONEST == set()


def test_each_alert_has_a_page_that_says_what_to_do() -> None:
    """Its link leads to a heading of the document, and each heading is an alert's."""
    text = (ROOT / "docs" / "alerts.md").read_text()
    headings = re.findall(r"^## (\w+)$", text, re.MULTILINE)
    assert sorted(headings) == sorted(rule["alert"] for rule in RULES)
    for rule in RULES:
        link = f"docs/alerts.md#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook_url"] == link


def test_promtool_accepts_the_rules() -> None:
    """Prometheus's own checker finds nothing wrong."""
    done = promtool("check", "rules", str(ALERTS))
    assert done.returncode == 0, done.stdout + done.stderr
    configuration = ALERTS.with_name("prometheus.yaml")
    done = promtool("check", "config", str(configuration))
    assert done.returncode == 0, done.stdout + done.stderr


def check(folder: Path, series: dict[str, str], firing: set[str]) -> None:
    """Have promtool say which alerts fire after fourteen minutes with these series."""
    folder.mkdir(exist_ok=True)
    tests = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [
                    {"series": name, "values": values} for name, values in series.items()
                ],
                "promql_expr_test": [
                    {
                        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": "14m",
                        "exp_samples": [
                            {"labels": f'{{alertname="{name}"}}', "value": 1}
                            for name in sorted(firing)
                        ],
                    }
                ],
            }
        ],
    }
    path = folder / "test.yaml"
    path.write_text(yaml.safe_dump(tests))
    done = promtool("test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_fires_while_all_is_well(tmp_path: Path) -> None:
    """A worker that is well brings no alert about."""
    check(tmp_path, WELL, set())


@pytest.mark.parametrize("name", [rule["alert"] for rule in RULES])
def test_each_alert_fires(name: str, tmp_path: Path) -> None:
    """With what it is about being wrong it fires, and no other with it but those that mean it."""
    check(tmp_path, WELL | ILL[name], {name} | ALSO.get(name, set()))
