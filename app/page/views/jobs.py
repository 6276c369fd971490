"""Jobs: the list, and one while it runs and afterwards."""

import asyncio
import base64
from contextlib import suppress
from functools import partial

from markupsafe import Markup
from nicegui import ui

from app.page import charts, markup
from app.page.calls import MAX_LISTED, CallRefused, ServiceCall, path_of
from app.page.frame import action, confirmed_action, details, heading, section, show_call, show_refusal, view
from app.page.state import service
from app.page.views.results import TRAINING_KIND, show_result
from app.states import EVALUATE, SWEEP, TERMINAL, Status
from app.typedefs import Json

MAX_EVENTS, MAX_SHOWN_EVENTS = 500, 100
TICK_SECONDS, WAIT_SECONDS, RETRY_SECONDS = 0.5, 10, 2.0
TRAINING_PARTS = ("options", "network", "training")
LOSSES = ("train_loss", "valid_loss")
KIND_NAMES = {TRAINING_KIND: "training", EVALUATE: "evaluation", "batch_predict": "batch prediction"}
PHASES_IN_CURVES = {"pretrain": "pretraining ", "ablation": "simpler ", "refit": "refit "}
INTERNAL_FIELDS = ("stage", "final")  # of events
NAMES_IN_EVENTS = {"status": "", "bytes": "", "phase": "in the phase", "seconds": "seconds:"}
PHASES = {
    "prepare": "preparing the data",
    "evaluate": "evaluating",
    "pretrain": "pretraining on the texts alone",
    "ablation": "a simpler network, to compare with",
    "refit": "once more, on all data",
}


@view("/jobs", "/jobs")
async def job_list() -> None:
    """All jobs."""
    heading("Jobs", "Trainings, sweeps, evaluations and predictions of whole data sets.")
    jobs = await service().entries(path_of("jobs"), MAX_LISTED)
    if not jobs:
        markup.show(Markup("<p>There are no jobs yet. {}</p>").format(markup.link("/", "Upload a file")))
        return
    markup.show(job_table(jobs, "Jobs, newest first"))


def job_table(jobs: list[Json], caption: str) -> Markup:
    """Jobs with their states."""
    rows = [
        (markup.link(f"/jobs/{job['id']}", f"{job['model']}"), kind_name(job["kind"]), job["task"],
         markup.status_badge(job["status"]), _share((job.get("progress") or {}).get("fraction")),
         markup.moment(job["created_at"]))
        for job in jobs
    ]  # fmt: skip
    return markup.table(("Model", "Kind", "Task", "State", "Done", "Submitted"), rows, caption)


def kind_name(kind: str) -> str:
    """A kind of jobs for people."""
    return KIND_NAMES.get(kind, kind.replace("_", " "))


def _share(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.0%}"


@view("/jobs/{job_id}", "/jobs")
async def job_view(job_id: str) -> None:
    """One job."""
    api = service()
    job, etag = await api.changed_job(job_id, "", 0)
    if job is not None:
        heading(job["model"], f"{kind_name(job['kind']).capitalize()} for {job['task']}, {job['id']}.")
        watch = _JobWatch(job, etag)
        await watch.show()


class _JobWatch:
    """A job that is followed until its end."""

    def __init__(self, job: Json, etag: str) -> None:
        self._job, self._etag = job, etag
        self._api = service()
        self._events: list[Json] = []
        self._curves: ui.echart | None = None
        self._shown_status = ""

    async def show(self) -> None:
        """Build all parts, and follow the job if it lives."""
        with section("State"):
            self._state = markup.show(Markup(""))
            self._state.props("aria-live=polite")
            self._problems = ui.element("div").props("aria-live=assertive")
            self._controls = ui.element("div").classes("buttons")
        self._result = ui.element("div")
        self._curve_part = ui.element("div")
        with section("What happened"):
            self._log = markup.show(Markup("")).props("role=log aria-label=Events")
        with details("Settings"):
            names = (*TRAINING_PARTS, "search", "trial", "metadata")
            settings = markup.flatten({name: self._job[name] for name in names if self._job.get(name)})
            dataset = markup.link(f"/datasets/{self._job['dataset']}", self._job["dataset"])
            markup.show(markup.facts([("data set", dataset), *settings.items()]))
        if call := call_of(self._job):
            show_call(call)
        with suppress(CallRefused):
            await self._update()
        if self._job["status"] not in TERMINAL:
            self._timer = ui.timer(TICK_SECONDS, self._tick)

    async def _tick(self) -> None:
        """Wait for a change, and show it."""
        try:
            job, self._etag = await self._api.changed_job(self._job["id"], self._etag, WAIT_SECONDS)
            if job is not None:
                self._job = job
                await self._update()
        except CallRefused as error:
            self._problems.clear()
            with self._problems:
                show_refusal(error)
            await asyncio.sleep(RETRY_SECONDS)
            return
        self._problems.clear()
        if self._job["status"] in TERMINAL:
            self._timer.cancel()

    async def _update(self) -> None:
        job = self._job
        self._state.set_content(_state_of(job))
        after = self._events[-1]["seq"] if self._events else 0
        page = await self._api.get(path_of("jobs", job["id"], "events"), after=after, limit=MAX_EVENTS)
        self._events += page["data"]
        self._log.set_content(_event_list(self._events))
        await self._update_curves()
        if job["status"] != self._shown_status:
            self._shown_status = job["status"]
            self._show_controls()
            if job["status"] in TERMINAL or job["kind"] == SWEEP:
                await self._show_result()
        elif job["kind"] == SWEEP:
            await self._show_result()

    async def _update_curves(self) -> None:
        epochs = (await self._api.get(path_of("jobs", self._job["id"], "metrics")))["epochs"]
        steps, lines = loss_lines(epochs)
        if not lines:
            return
        if self._curves is None:
            with self._curve_part, section("Curves"):
                self._curves = charts.line_chart("Loss by epoch", steps, lines, x_name="epoch")
        self._curves.options.update(charts.line_options(steps, lines, x_name="epoch"))
        known = {name: [value for value in values if value is not None] for name, values in lines.items()}
        last = ", ".join(f"{name} {markup.number(values[-1])}" for name, values in known.items())
        self._curves.props["aria-label"] = f"Loss by epoch, {len(epochs)} epochs so far; now {last}"
        self._curves.update()

    def _show_controls(self) -> None:
        self._controls.clear()
        status = Status(self._job["status"])
        offered = {
            "pause": status in (Status.QUEUED, Status.RUNNING),
            "resume": status == Status.PAUSED,
            "cancel": status not in TERMINAL,
        }
        with self._controls:
            for verb, is_offered in offered.items():
                if is_offered:
                    kind = "danger" if verb == "cancel" else "secondary"
                    action(verb.capitalize(), partial(self._control, verb), self._problems, kind=kind)
            if status in TERMINAL:
                question = f"Delete the job {self._job['id']} with its events and results for good?"
                confirmed_action("Delete this job", question, self._delete, self._problems)

    async def _control(self, verb: str) -> None:
        await self._api.make(ServiceCall("POST", path_of("jobs", self._job["id"], verb)))

    async def _delete(self) -> None:
        await self._api.make(ServiceCall("DELETE", path_of("jobs", self._job["id"])))
        ui.navigate.to("/jobs")

    async def _show_result(self) -> None:
        self._result.clear()
        with self._result:
            await show_result(self._job)
        if self._job["kind"] == TRAINING_KIND and self._job["status"] in TERMINAL:
            with suppress(CallRefused):
                picture = await self._api.text(path_of("jobs", self._job["id"], "diagnostics"), format="svg")
                with self._result, details("How far back the network reaches"):
                    show_picture(picture, "The norm of the gradient by lag, of some epochs")


def loss_lines(epochs: list[Json]) -> tuple[list[str], dict[str, list[float | None]]]:
    """The losses over the epochs, with a gap where another stage of the training begins."""
    steps: list[str] = []
    lines: dict[str, list[float | None]] = {name: [] for name in LOSSES}
    stage: object = None
    for epoch in epochs:
        if steps and epoch.get("stage") != stage:
            steps.append("")
            for values in lines.values():
                values.append(None)
        stage = epoch.get("stage")
        phase = PHASES_IN_CURVES.get(epoch.get("phase", ""), "")
        steps.append(f"{phase}{epoch.get('epoch', len(steps) + 1)}")
        for name, values in lines.items():
            values.append(epoch.get(name))
    shown = {name: values for name, values in lines.items() if any(value is not None for value in values)}
    return steps, {name.replace("_", " "): values for name, values in shown.items()}


def show_picture(svg: str, description: str) -> None:
    """A picture that the service drew; as an image it can run nothing."""
    content = base64.b64encode(svg.encode()).decode()
    markup.show(
        Markup("<img class='picture' alt='{}' src='data:image/svg+xml;base64,{}'>").format(
            description, content
        )
    )


def _state_of(job: Json) -> Markup:
    """Badge, bar and figures of a job."""
    progress = job.get("progress") or {}
    figures: dict[str, object] = {}
    if job["status"] == Status.RUNNING:
        if phase := PHASES.get(progress.get("phase", "")):
            figures["doing"] = phase
        for name, total in (
            ("epoch", "epochs"),
            ("step", "steps"),
            ("instances", "total"),
            ("runs", "total"),
        ):
            if progress.get(name) is not None:
                figures[name] = f"{progress[name]:,} of {progress.get(total, 0):,}"
        if progress.get("samples_per_second"):
            figures["samples a second"] = progress["samples_per_second"]
        if progress.get("eta_seconds") is not None:
            figures["time left"] = markup.duration(progress["eta_seconds"])
    if job["status"] != Status.SUCCEEDED:  # of one that has, the result says them
        metrics = job.get("metrics") or {}
        figures |= {
            name.replace("_", " "): value for name, value in metrics.items() if isinstance(value, int | float)
        }
    fraction = 1.0 if job["status"] == Status.SUCCEEDED else progress.get("fraction") or 0.0
    request = "cancel" if job["cancel_requested"] else "pause" if job["pause_requested"] else ""
    note = f" – {request} requested" if request and job["status"] not in TERMINAL else ""
    bar = Markup("<progress max='1' value='{}' aria-label='Progress'>{:.0%}</progress>").format(
        fraction, fraction
    )
    error = job.get("error")
    fault = Markup("<p class='warning'>{} ({})</p>").format(error["message"], error["code"]) if error else ""
    return Markup("<p class='state'>{}{} {}</p>{}{}").format(
        markup.status_badge(job["status"]), note, bar, fault, markup.facts(figures.items())
    )


def _event_list(events: list[Json]) -> Markup:
    """The last events, the newest first."""
    items = Markup("").join(
        Markup("<li class='{}'>{} <strong>{}</strong> {}</li>").format(
            event["type"], markup.moment(event["at"]), event["type"], describe_event(event["data"])
        )
        for event in reversed(events[-MAX_SHOWN_EVENTS:])
    )
    return Markup("<ol class='events' tabindex='0' aria-label='Events, the newest first'>{}</ol>").format(
        items
    )


def describe_event(data: Json) -> str:
    """What an event says, as text."""
    if isinstance(data.get("message"), str):
        return str(data["message"])
    simple = {
        name: value
        for name, value in data.items()
        if isinstance(value, str | int | float) and value != "" and name not in INTERNAL_FIELDS
    }
    if isinstance(size := simple.pop("bytes", None), int):
        simple["bytes"] = markup.byte_size(size)
    return ", ".join(
        f"{NAMES_IN_EVENTS.get(name, name.replace('_', ' '))} {markup.cell(value).unescape()}".strip()
        for name, value in simple.items()
    )


def call_of(job: Json) -> ServiceCall | None:
    """The call that submits such a job."""
    body: Json = {"task": job["task"], "dataset": job["dataset"], "model": job["model"]}
    if job["kind"] == TRAINING_KIND and not job.get("sweep"):
        parts = {part: job[part] for part in TRAINING_PARTS if job.get(part)}
        return ServiceCall("POST", path_of("jobs"), body | parts)
    return None
