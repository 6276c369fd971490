"""The first view: upload a file, see what it is, and have the service check and store it."""

import json
from collections.abc import Sequence

from markupsafe import Markup
from nicegui import ui
from starlette.concurrency import run_in_threadpool

from app.page import markup
from app.page.calls import CallRefused, ServiceCall, path_of
from app.page.columns import for_this_page, guess_columns, role_of
from app.page.files import ReceivedFile
from app.page.forms.file_input import FileInput
from app.page.frame import action, heading, refusals, section, show_call, view
from app.page.state import service
from app.page.suggestions import FileGlimpse, Suggestion, glimpse, suggest
from app.page.views.jobs import kind_name
from app.typedefs import Json

LEAD = "Upload sequences, train a recurrent network on them, and call the model."
FILE_NOTE = (
    "Tables (CSV, TSV, Parquet), JSON Lines, CoNLL, plain text, or an archive of recordings, clips or music. "
    "Nothing is trained before you say so."
)
NO_COLUMN = ""  # no column of the file
COLUMNS_NOTE = "Which column of the file is which. Guessed from the names and the first rows: please check."
MAX_RECENT = 5


@view("/", "/")
async def home() -> None:
    """Upload a file; what is going on beside it."""
    heading("Train a model on your data", LEAD)
    tasks = (await service().get(path_of("tasks")))["data"]
    with section("1. Choose a file"):
        chosen = FileInput("File", note=FILE_NOTE, on_file=lambda: _show_file(chosen, tasks, file_part))
    file_part = ui.element("div").props("aria-live=polite")
    with section("Lately"):
        await _show_recent()


async def _show_recent() -> None:
    jobs = await service().entries(path_of("jobs"), MAX_RECENT)
    if not jobs:
        markup.show(Markup("<p class='note'>There are no jobs yet.</p>"))
        return
    rows = [
        (
            markup.link(f"/jobs/{job['id']}", job["model"]),
            kind_name(job["kind"]),
            job["task"],
            markup.status_badge(job["status"]),
        )
        for job in jobs
    ]
    markup.show(markup.table(("Model", "Kind", "Task", "State"), rows, "The last jobs"))


async def _show_file(chosen: FileInput, tasks: Sequence[Json], into: ui.element) -> None:
    into.clear()
    if chosen.file is None:
        return
    contents = await run_in_threadpool(glimpse, chosen.file)
    ranking = suggest(contents, tasks)
    with into, section("2. What is it?"):
        if contents.lines:
            markup.show(Markup("<p class='note'>The first lines of {}</p>{}").format(
                chosen.file.name, markup.code("\n".join(contents.lines))
            ))  # fmt: skip
        _StoreForm(chosen.file, contents, ranking, {task["name"]: task for task in tasks})


class _StoreForm:
    """Task, name and columns of a file, and the button that sends it."""

    def __init__(
        self, file: ReceivedFile, contents: FileGlimpse, ranking: Sequence[Suggestion], tasks: dict[str, Json]
    ) -> None:
        self._file, self._contents, self._tasks = file, contents, tasks
        self._reasons = {suggestion.task: suggestion.reason for suggestion in ranking}
        best = ranking[0].task if ranking else None
        with ui.element("div").classes("fields"):
            self._task = ui.select(sorted(tasks), value=best, label="Task", on_change=self._show_columns)
            self._task.props("outlined dense").classes("field")
            self._name = ui.input("Name", value=file.name).props("outlined dense").classes("field")
        self._reason = ui.label("").classes("note")
        self._columns_part = ui.element("div")
        self._columns: dict[str, ui.select] = {}
        self._problems = ui.element("div").props("aria-live=assertive")
        action("Check and store", self._store, self._problems)
        self._show_columns()

    def _show_columns(self) -> None:
        reason = self._reasons.get(self._task.value, "")
        self._reason.set_text(
            f"Suggested, as {reason}." if reason else "Nothing in the file suggests this task."
        )
        self._columns_part.clear()
        self._columns = {}
        names = self._tasks[self._task.value]["columns"]
        if (
            not self._contents.columns
            or self._contents.format not in self._tasks[self._task.value]["formats"]
        ):
            return
        guessed = guess_columns(names, self._contents.table)
        options = {NO_COLUMN: "–"} | {column: column for column in self._contents.columns}
        with self._columns_part:
            markup.show(Markup("<h3>Columns</h3><p class='note'>{}</p>").format(COLUMNS_NOTE))
            with ui.element("div").classes("fields"):
                for name in names:
                    role = role_of(name)
                    # Lines of JSON may have other fields in place of a table's columns.
                    is_required = role.required and bool(self._contents.rows)
                    label = f"{name} (required)" if is_required else name
                    select = ui.select(options, value=guessed.get(name, NO_COLUMN), label=label)
                    select.props["hint"] = role.description
                    self._columns[name] = select.props("outlined dense bottom-slots").classes("field")

    def call(self) -> ServiceCall:
        """The upload as it stands in the form."""
        columns = {
            name: select.value
            for name, select in self._columns.items()
            if select.value not in (NO_COLUMN, name)
        }
        form = {"task": self._task.value, "name": self._name.value}
        if columns:
            form["columns"] = json.dumps(columns)
        return ServiceCall("POST", path_of("datasets"), form=form, filename=self._file.name)

    async def _store(self) -> None:
        with self._problems:
            ui.label("The service reads the file…").props("role=status").classes("note")
        call = self.call()
        async with refusals(self._problems):
            dataset = await self._upload(call)
            ui.navigate.to(f"/datasets/{dataset['id']}")
            return
        with self._problems:
            show_call(call)

    async def _upload(self, call: ServiceCall) -> Json:
        try:
            return await service().upload(call, self._file.path)
        except CallRefused as error:
            if not self._columns:
                raise
            faults = [
                {**fault, "detail": for_this_page(fault.get("detail", ""))}
                for fault in error.problem.get("errors") or ()
            ]
            raise CallRefused(error.problem | {"errors": faults}) from error
