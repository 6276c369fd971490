"""Forecasts of the ends of stored series, beside what came."""

from collections.abc import Sequence

from markupsafe import Markup
from nicegui import ui

from app.page import markup
from app.page.calls import MAX_LISTED, CallRefused, ServiceCall, path_of
from app.page.forms.instances import SeriesColumns, series_instance
from app.page.frame import refusals, section, show_call
from app.page.predictions.forecasts import show_forecast
from app.page.predictions.show import show_warnings
from app.page.state import service
from app.page.views.examples import example_names, load_example
from app.typedefs import Json

MAX_SERIES = 100  # to choose from, as many as a preview has
LEAD = "The last values of a series are held back, and forecast by this version from those before."
TRAINED_ON = (
    "The version was trained on this data set, and may have learned from the very values that are held back "
    "here: this shows how it follows a series. How good it is on data that it did not see, the figures above "
    "and evaluations say."
)
NOT_TRAINED_ON = "The version was not trained on this data set."
TOO_SHORT = "This series is too short: it has to have at least two values."


async def show_held_back(version: Json) -> None:
    """The part of a version's view; nothing where its data are no series, or gone."""
    api = service()
    try:
        trained_on = await api.get(path_of("datasets", version["dataset"]))
        rows = await _series_of(version["dataset"])
    except CallRefused:
        return
    if not rows:
        return
    datasets = [
        row for row in await api.entries(path_of("datasets"), MAX_LISTED) if row["task"] == version["task"]
    ]
    names = {trained_on["id"]: trained_on["name"]} | {row["id"]: row["name"] for row in datasets}
    with section("Forecasts beside what came", LEAD):
        await _HeldBack(version, SeriesColumns.of(version, trained_on["summary"]), rows).show(names)


async def _series_of(dataset: str) -> list[Json]:
    """The first series of a data set, as its preview has them."""
    preview = await service().get(path_of("datasets", dataset, "preview"), limit=MAX_SERIES)
    return [row for row in preview["data"] if "timestamps" in row]


class _HeldBack:
    """A choice of a series, and its forecast."""

    def __init__(self, version: Json, columns: SeriesColumns, rows: Sequence[Json]) -> None:
        self._version, self._columns, self._rows = version, columns, rows

    async def show(self, datasets: dict[str, str]) -> None:
        """Build the choices; the first forecast comes once the view is there."""
        own = self._version["dataset"]
        with ui.element("div").classes("fields"):
            self._dataset = ui.select(datasets, value=own, label="Data set", on_change=self._choose_dataset)
            names = example_names(self._rows)
            self._series = ui.select(names, value=0, label="Series", on_change=self._draw)
            for chooser in (self._dataset, self._series):
                chooser.props("outlined dense").classes("field")
        self._note = ui.label(TRAINED_ON).classes("note")
        self._place = ui.element("div").props("aria-live=polite")
        ui.timer(0.1, self._draw, once=True)

    async def _choose_dataset(self) -> None:
        async with refusals(self._place):
            self._rows = await _series_of(self._dataset.value)
            self._series.set_options(example_names(self._rows), value=None)
            self._series.set_value(0 if self._rows else None)

    async def _draw(self) -> None:
        dataset, index = self._dataset.value, self._series.value
        if index is None:
            return
        self._note.set_text(TRAINED_ON if dataset == self._version["dataset"] else NOT_TRAINED_ON)
        async with refusals(self._place):
            with self._place:
                ui.label("The version forecasts…").classes("note")
            row = (await load_example(dataset, index)).row
            held_back = self._columns.held_back(row)
            instance, actual = series_instance(row, self._columns, held_back)
            call = self._call(instance, held_back)
            answer = await service().make(call) if held_back else None
            if (dataset, index) != (self._dataset.value, self._series.value):
                return  # something else was chosen meanwhile
            self._place.clear()
            with self._place:
                if answer is None:
                    markup.show(Markup("<p class='note'>{}</p>").format(TOO_SHORT))
                    return
                prediction = answer["predictions"][0]
                show_warnings(prediction)
                show_forecast(prediction, instance, actual)
                show_call(call)

    def _call(self, instance: Json, horizon: int) -> ServiceCall:
        path = path_of("models", self._version["model"], "predict") + f"?version={self._version['version']}"
        return ServiceCall("POST", path, {"instances": [instance], "parameters": {"horizon": horizon}})
