"""Aliases of a model: which versions answer, and a form that moves one."""

from collections.abc import Sequence

from nicegui import ui

from app.page import markup
from app.page.calls import STANDARD_ALIAS, CallRefused, ServiceCall, path_of
from app.page.frame import action, show_call
from app.page.state import service
from app.typedefs import Json

NO_VERSION = 0  # no version
MAX_OFFERED = 8  # versions, the newest
PERCENT = 100.0


async def show_aliases(model: str, versions: Sequence[int]) -> None:
    """A table of the aliases, and the form."""
    if not versions:
        return
    table = ui.element("div")
    await _fill(table, model)
    _AliasForm(model, versions[:MAX_OFFERED], table)


async def _fill(table: ui.element, model: str) -> None:
    rows = [
        (alias["alias"], _shares(alias["versions"]), alias["shadow"], markup.moment(alias["updated_at"]))
        for alias in await service().entries(path_of("models", model, "aliases"))
    ]
    table.clear()
    with table:
        markup.show(markup.table(("Alias", "Answers", "Shadow", "Moved"), rows, "Aliases"))


def _shares(versions: Json) -> str:
    return ", ".join(f"version {number}: {share:.0%}" for number, share in versions.items())


class _AliasForm:
    """Name, shares, shadow, and the evaluation that guards a move."""

    def __init__(self, model: str, versions: Sequence[int], table: ui.element) -> None:
        self._model, self._table = model, table
        with ui.element("div").classes("fields"):
            self._alias = (
                ui.input("Alias", value=STANDARD_ALIAS).props("outlined dense").classes("field narrow")
            )
            self._shares = {number: _share_field(number, versions[0]) for number in versions}
            shadows = {NO_VERSION: "none"} | {number: f"version {number}" for number in versions}
            self._shadow = (
                ui.select(shadows, value=NO_VERSION, label="Shadow")
                .props("outlined dense")
                .classes("field narrow")
            )
            self._guard = ui.input("Guard: an evaluation").props("outlined dense").classes("field")
            self._metric = ui.input("Guard: its metric").props("outlined dense").classes("field narrow")
        self._problems = ui.element("div").props("aria-live=assertive")
        action("Move the alias", self._move, self._problems)
        action("Remove the alias", self._remove, self._problems, kind="danger")

    def call(self) -> ServiceCall:
        """The move as it stands in the form."""
        shares = {number: float(field.value or 0) for number, field in self._shares.items() if field.value}
        total = sum(shares.values())
        body: Json = {"versions": {str(number): share / total for number, share in shares.items()}}
        if len(shares) == 1:
            body = {"version": next(iter(shares))}
        if not shares:
            fault = {"pointer": "/versions", "detail": "give at least one version a share"}
            raise CallRefused(
                {"status": 422, "title": "Not sent", "detail": "No version answers", "errors": [fault]}
            )
        if self._shadow.value != NO_VERSION:
            body["shadow"] = self._shadow.value
        if self._guard.value:
            body["guard"] = {"evaluation": self._guard.value, "metric": self._metric.value or ""}
        return ServiceCall("PUT", path_of("models", self._model, "aliases", self._alias.value), body)

    async def _move(self) -> None:
        await self._make(self.call(), "The alias has moved.")

    async def _remove(self) -> None:
        path = path_of("models", self._model, "aliases", self._alias.value)
        await self._make(ServiceCall("DELETE", path), "The alias is gone.")

    async def _make(self, call: ServiceCall, message: str) -> None:
        try:
            await service().make(call)
            await _fill(self._table, self._model)
            with self._problems:
                ui.label(message).classes("done").props("role=status")
        finally:
            with self._problems:
                show_call(call)


def _share_field(number: int, newest: int) -> ui.number:
    field = ui.number(f"Version {number}, %", value=PERCENT if number == newest else None, min=0, max=PERCENT)
    return field.props("outlined dense").classes("field narrow")
