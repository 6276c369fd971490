"""Rules and dashboard speak of series that a running service exports, in expressions that are PromQL."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import promql_parser as promql
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.lanes import Answer
from tests.support.fixtures.service import Service

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "monitoring"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"] for rule in group["rules"]
]
RECORDS = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
BOARD: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_text())
PROMETHEUS_OWN = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate"}}
SCRAPED = {"job", "instance", "process"}  # labels of every series; `process` where several serve together
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}

Series = Mapping[str, set[str]]  # the labels of each by its name


def dashboard_expressions() -> Iterator[tuple[str, str, str]]:
    """The expressions of the dashboard: what each is for, and the template of its legend."""
    for panel in BOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"], target["legendFormat"]
    for annotation in BOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"], annotation["titleFormat"]
    for variable in BOARD["templating"]["list"]:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert match
            yield variable["name"], match[1], f"{{{{{match[2]}}}}}"


def parsed(expression: str) -> promql.Expr:
    """The expression, with what Grafana puts in for its variable."""
    return promql.parse(expression.replace("$__rate_interval", "5m"))


def used(expression: str) -> tuple[dict[str, set[str]], set[str]]:
    """The series that an expression selects, with the labels it is selected by; the labels it groups by."""
    selected: dict[str, set[str]] = {}
    grouped: set[str] = set()

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            assert node.name, "a series without a name"
            selected.setdefault(node.name, set()).update(one.name for one in node.matchers.matchers)
        elif isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            assert node.modifier.type == promql.AggModifierType.By
            grouped.update(node.modifier.labels)

    promql.walk(parsed(expression), pre_visit=visit)
    return selected, grouped


def faults(expression: str, series: Series, legend: str = "") -> list[str]:
    """Names of series and labels in an expression, or in what is written beside it, that there are not."""
    selected, grouped = used(expression)
    known = SCRAPED.union(*(series.get(name, set()) for name in selected))
    result = [name for name in selected if name not in series]
    for name, labels in selected.items():
        result += [f"{name}{{{label}}}" for label in labels - series.get(name, set()) - SCRAPED]
    named = set(re.findall(r"\{\{ ?(?:\$labels\.)?(\w+) ?\}\}", legend))
    return result + sorted((grouped | named) - known)


@pytest.fixture
def series(on_sqlite: Service) -> Series:
    """What a running service exports when it has answered something, and what the rules record of it."""
    version = on_sqlite.state.predictions.metrics.of_version("demand", 1)
    version.record_answer(Answer([np.zeros(1, np.float32)], 0.0, 0.0, 1), 0.01)
    version.record_shadow("same")
    version.record_difference(0.1)
    on_sqlite.state.predictions.lane.error_counts["queue-full"] = 1
    on_sqlite.http.get("/healthz")
    exported: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(on_sqlite.http.get("/metrics").raise_for_status().text):
        for suffix in SUFFIXES.get(family.type, ("",)):
            exported[family.name + suffix] = set()
        for sample in family.samples:
            exported[sample.name] = exported.get(sample.name, set()) | sample.labels.keys()
    recorded = {name: used(expression)[1] - {"le"} for name, expression in RECORDS.items()}
    return {**exported, **recorded, **PROMETHEUS_OWN}


def test_the_rules_speak_of_what_is_exported(series: Series) -> None:
    assert {name: bad for name, expression in RECORDS.items() if (bad := faults(expression, series))} == {}
    for name, rule in ALERTS.items():
        assert faults(rule["expr"], series, " ".join(rule["annotations"].values())) == [], name


def test_the_dashboard_speaks_of_what_is_exported(series: Series) -> None:
    assert len(list(dashboard_expressions())) > 20
    for title, expression, legend in dashboard_expressions():
        assert faults(expression, series, legend) == [], title


def test_names_that_there_are_not_are_noticed(series: Series) -> None:
    assert faults("rate(recurra_predictions_total[5m])", series) == []
    assert faults("rate(recurra_prediction_total[5m])", series) == ["recurra_prediction_total"]
    assert faults('recurra_predictors{modle="a"}', series) == ["recurra_predictors{modle}"]
    assert faults("sum by (modle) (recurra_predictions_total)", series) == ["modle"]
    assert faults("recurra_predictors", series, "{{ $labels.model }}") == ["model"]
    with pytest.raises(ValueError, match="parenthesis"):
        parsed("sum(rate(recurra_predictions_total[5m])")


def test_every_own_series_but_the_counts_of_sizes_is_watched(series: Series) -> None:
    """What is exported and nobody looks at is either missing here, or not worth exporting."""
    everything = [rule["expr"] for rule in RULES] + [
        expression for _, expression, _ in dashboard_expressions()
    ]
    watched = set().union(*(used(expression)[0] for expression in everything))
    assert set(RECORDS) <= watched
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in watched}
    own = {re.sub("_(bucket|count|sum)$", "", name) for name in series if name.startswith("recurra_")}
    assert own <= families


def test_an_alert_says_how_bad_it_is_and_what_to_do() -> None:
    assert len(ALERTS) >= 8
    for name, rule in ALERTS.items():
        assert name.startswith("Recurra")
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert {"summary", "description"} == rule["annotations"].keys()
    tested = (FOLDER / "rules.test.yml").read_text()
    assert [name for name in ALERTS if tested.count(name) < 2] == []  # once quiet, once firing


def test_panels_have_places_of_their_own_and_the_chosen_data_source() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        own = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not own & cells, panel["title"]
        assert max(x for x, _ in own) < 24
        cells |= own
        for holder in [panel, *panel.get("targets", [])] if panel["type"] != "row" else []:
            assert holder["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    identities = [panel["id"] for panel in BOARD["panels"]]
    assert len(identities) == len(set(identities))


def test_prometheus_is_shown_the_way() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    (scrape,) = config["scrape_configs"]
    assert config["rule_files"] == ["rules.yml"]
    assert scrape["metrics_path"] == "/metrics"
    assert all(scrape["job_name"] in rule["expr"] for rule in ALERTS.values() if "job=" in rule["expr"])
    assert "credentials_file" in scrape["authorization"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "rules", "rules.yml"],
        ["test", "rules", "rules.test.yml"],
        ["check", "config", "--syntax-only", "prometheus.yml"],
    ],
    ids=["rules", "alerts", "config"],
)
def test_prometheus_itself_accepts_them(arguments: list[str]) -> None:
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip("there is no promtool here (Debian's package prometheus)")
    done = subprocess.run([promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
