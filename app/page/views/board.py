"""Workers, queue and serving on one board."""

import re
from collections import defaultdict

from markupsafe import Markup
from nicegui import ui

from app.page import markup
from app.page.calls import CallRefused, path_of
from app.page.frame import heading, section, show_refusal, view
from app.page.state import service
from app.page.views.jobs import job_table
from app.states import Status
from app.typedefs import Json

REFRESH_SECONDS = 3.0
MAX_LIVE_JOBS = 20
SAMPLE = re.compile(r"(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>[-+.\deEinfNa]+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
GAUGES = {
    "recurra_predictors": "predictors",
    "recurra_lane_depth": "requests that wait",
    "recurra_lane_waiting_rows": "rows without an answer",
    "recurra_loaded_versions": "versions in memory",
}
Sample = tuple[str, dict[str, str], float]


@view("/board", "/board")
async def board_view() -> None:
    """What runs, what waits, and how predictions are served; kept up to date."""
    heading("Board", "Workers, jobs and predictions, as they are now.")
    with section("Readiness"):
        readiness = markup.show(Markup(""))
    with section("Workers"):
        workers = markup.show(Markup(""))
    with section("Jobs that run or wait"):
        jobs = markup.show(Markup(""))
    with section("Predictions"):
        serving = markup.show(Markup(""))
    problems = ui.element("div").props("aria-live=assertive")

    async def refresh() -> None:
        try:
            contents = [await part() for part in (_readiness, _workers, _queue, _serving)]
        except CallRefused as error:
            problems.clear()
            with problems:
                show_refusal(error)
            return
        problems.clear()
        for element, content in zip((readiness, workers, jobs, serving), contents, strict=True):
            if element.content != content:
                element.set_content(content)

    await refresh()
    ui.timer(REFRESH_SECONDS, refresh, immediate=False)


async def _readiness() -> Markup:
    try:
        checks = (await service().get("/readyz"))["checks"]
    except CallRefused as error:
        if "checks" not in error.problem:
            raise
        checks = error.problem["checks"]
    return Markup("<p>{}</p>").format(
        Markup(" ").join(
            Markup("<span class='badge {}'>{}: {}</span>").format(
                "succeeded" if state == "ok" else "failed", name.replace("_", " "), state
            )
            for name, state in checks.items()
        )
    )


async def _workers() -> Markup:
    rows = [
        (worker["role"], worker["device"], worker["host"],
         _job_link(worker["busy_with"]),
         len(worker["loaded"]), markup.moment(worker["last_seen"]))
        for worker in await service().entries(path_of("workers"))
    ]  # fmt: skip
    return markup.table(
        ("Role", "Device", "Host", "Busy with", "Loaded versions", "Last seen"), rows, "Workers"
    )


def _job_link(job_id: str | None) -> Markup | str:
    return "nothing" if job_id is None else markup.link(f"/jobs/{job_id}", job_id)


async def _queue() -> Markup:
    states = (Status.RUNNING, Status.QUEUED, Status.PAUSED)
    api = service()
    jobs = [
        job for state in states for job in await api.entries(path_of("jobs"), MAX_LIVE_JOBS, status=state)
    ]
    return job_table(jobs, "Jobs that live") if jobs else Markup("<p class='note'>Nothing runs or waits.</p>")


async def _serving() -> Markup:
    samples = list(read_samples(await service().text("/metrics")))
    gauges = [
        (label, sum(value for name, _, value in samples if name == gauge)) for gauge, label in GAUGES.items()
    ]
    return Markup("{}{}").format(markup.facts(gauges), _by_version(samples))


def _by_version(samples: list[Sample]) -> Markup:
    """Requests and times of each version that has answered."""
    versions: dict[tuple[str, str], Json] = defaultdict(lambda: defaultdict(float))
    for name, labels, value in samples:
        key = (labels.get("model", ""), labels.get("version", ""))
        if name == "recurra_predictions_total":
            versions[key][labels.get("outcome", "")] += value
        elif name.startswith("recurra_prediction_seconds_") and labels.get("phase") == "total":
            versions[key][name.rsplit("_", 1)[1]] += value
        elif name == "recurra_prediction_rows_total":
            versions[key]["rows"] += value
    rows = [
        (f"{model}, version {version}", own["succeeded"], own["failed"], own["rows"],
         1000 * own["sum"] / own["count"] if own["count"] else None)
        for (model, version), own in sorted(versions.items()) if model
    ]  # fmt: skip
    head = ("Version", "Requests answered", "Failed", "Instances", "Mean time (ms)")
    return (
        markup.table(head, rows, "Since the API started", numeric=True)
        if rows
        else Markup("<p class='note'>Nothing was predicted since the API started.</p>")
    )


def read_samples(text: str) -> list[Sample]:
    """The samples of Prometheus text."""
    matches = (SAMPLE.match(line) for line in text.splitlines() if not line.startswith("#"))
    return [
        (match["name"], dict(LABEL.findall(match["labels"] or "")), float(match["value"]))
        for match in matches
        if match is not None
    ]
