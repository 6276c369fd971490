"""The frame of every view: head, navigation, main part, and how refusals are shown."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

from fastapi.exception_handlers import http_exception_handler
from markupsafe import Markup
from nicegui import Client, app, ui
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.page import markup
from app.page.calls import CallRefused, ServiceCall
from app.page.snippets.curl import curl
from app.page.snippets.python import python
from app.page.state import has_key, page_state, root_path, visitor_request

SECTIONS = (
    ("/", "New model"), ("/datasets", "Data"), ("/jobs", "Jobs"), ("/models", "Models"), ("/board", "Board"),
)  # fmt: skip
BUILD_SECONDS = 60.0  # in which a view must be built
THEME_COOKIE = "recurra_theme"
THEMES = {"dark": True, "light": False}  # without a cookie the system's
BUILD = secrets.token_hex(4)  # so that browsers take the files of this process
STYLES = Markup(
    "<link rel='stylesheet' href='{}/static/page.css?{}'><script src='{}/static/page.js?{}'></script>"
)
UNAUTHENTICATED, FORBIDDEN, MISSING = 401, 403, 404
NAMED_PLACES = ("row", "line", "member", "column")  # steps of a pointer before a number or a name
MAX_FAULTS = 50  # that are listed
MAX_COMMAND_CHARS = 1 << 16  # of a call in another language
TOO_LONG = Markup("<p class='note'>This input is too long to be shown in a command.</p>")

Build = Callable[..., Awaitable[None]]


def view(path: str, section: str) -> Callable[[Build], Build]:
    """Register a function that builds a view; `section` is the navigation's entry it belongs to."""

    def register(build: Build) -> Build:
        @wraps(build)
        async def show(*arguments: Any, **parameters: Any) -> None:
            _build_head(section)
            with ui.element("div").classes("view").props("id=content tabindex=-1"):
                async with refusals():
                    await build(*arguments, **parameters)

        return ui.page(path, response_timeout=BUILD_SECONDS)(show)

    return register


async def show_missing(request: Request, error: Exception) -> Response:
    """The answer to a path that no view has: the frame, and a way home."""
    if request.scope.get("endpoint") not in (None, app) and isinstance(error, HTTPException):
        return await http_exception_handler(request, error)  # of a file, say, that no person reads
    with Client(ui.page(""), request=request) as client:
        _build_head("")
        with ui.element("div").classes("view").props("id=content tabindex=-1"):
            heading("There is no such page", "The address may be mistyped, or old.")
            markup.show(Markup("<p>{}</p>").format(markup.link("/", "Go to the first page")))
    return client.build_response(request, MISSING)


def _build_head(section: str) -> None:
    ui.add_head_html(STYLES.format(root_path(), BUILD, root_path(), BUILD))
    ui.dark_mode(THEMES.get(visitor_request().cookies.get(THEME_COOKIE, "")))
    with ui.header(elevated=False).classes("head"):
        links = Markup("").join(
            Markup("<li><a href='{}{}'{}>{}</a></li>").format(
                root_path(), path, Markup(" aria-current='page'") if path == section else "", label
            )
            for path, label in SECTIONS
        )
        bar = Markup(
            "<a class='skip' href='#content'>Skip to the content</a>"
            "<a class='brand' href='{}/'>Recurra</a>"
            "<nav aria-label='Main'><ul>{}</ul></nav>"
            "<span class='grow'></span>{}"
            "<button type='button' onclick='recurra.switchTheme()'>Dark or light</button>"
        ).format(root_path(), links, _key_link())
        markup.show(bar).classes("bar")


def _key_link() -> Markup:
    label = "Key is set" if has_key() else "Key"
    return Markup("<a href='{}/key'>{}</a>").format(root_path(), label)


def heading(title: str, note: str = "") -> None:
    """The title of a view, on the page and of its window."""
    ui.page_title(f"{title} – Recurra")
    markup.show(Markup("<h1>{}</h1>").format(title))
    if note:
        markup.show(Markup("<p class='lead'>{}</p>").format(note))


def section(title: str, note: str = "") -> ui.element:
    """A part of a view with a heading of its own."""
    part = ui.element("section").classes("part")
    with part:
        markup.show(Markup("<h2>{}</h2>").format(title))
        if note:
            markup.show(Markup("<p class='note'>{}</p>").format(note))
    return part


def details(title: str) -> ui.element:
    """A part that is closed until it is opened."""
    part = ui.element("details")
    with part:
        with ui.element("summary"):
            ui.label(title)
        return ui.element("div").classes("inner")


@asynccontextmanager
async def refusals(into: ui.element | None = None) -> AsyncIterator[None]:
    """Show a refused call instead of raising it, in the place of `into`'s contents or where the view is."""
    if into is not None:
        into.clear()
    try:
        yield
    except CallRefused as error:
        if into is None:
            show_refusal(error)
        else:
            with into:
                show_refusal(error)


def show_refusal(error: CallRefused) -> None:
    """A panel that says what was refused, why, and what can be done."""
    problem = error.problem
    rows = [_fault(entry) for entry in (problem.get("errors") or [])[:MAX_FAULTS]]
    with ui.element("div").classes("refusal").props("role=alert"):
        markup.show(Markup("<h2>{}</h2><p>{}</p>").format(problem.get("title", "Refused"), str(error)))
        if rows:
            markup.show(markup.table(("Where", "What is wrong"), rows, "Faults"))
        if error.status in (UNAUTHENTICATED, FORBIDDEN):
            hint = (
                "This service needs a key." if error.status == UNAUTHENTICATED else "Another key may do this."
            )
            markup.show(Markup("<p>{} <a href='{}/key'>Give a key</a></p>").format(hint, root_path()))


def _fault(entry: dict[str, str]) -> tuple[str, str]:
    """The place of a fault in words, such as `row 3, y`, and the fault."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in entry.get("pointer", "").split("/")[1:]]
    words, place = iter(steps), []
    for word in words:
        follower = next(words, None) if word in NAMED_PLACES else None
        place.append(word if follower is None else f"{word} {follower}")
    return ", ".join(place[1:] if place[:1] == ["file"] else place) or "the whole", entry.get("detail", "")


def show_call(call: ServiceCall, title: str = "The same without this page") -> None:
    """A call as commands for a shell and for Python."""
    keyed, url = has_key(), page_state().public_url
    with details(title):
        for name, text in (
            ("curl", curl(call, url, keyed=keyed)),
            ("Python", python(call, url, keyed=keyed)),
        ):
            shown = markup.code(text) if len(text) <= MAX_COMMAND_CHARS else TOO_LONG
            markup.show(Markup("<h3>{}</h3>{}").format(name, shown))


def action(
    label: str, handler: Callable[[], Awaitable[None]], into: ui.element, *, kind: str = "primary"
) -> ui.button:
    """A button; what its handler is refused is shown in `into`."""

    async def run() -> None:
        button.disable()
        try:
            async with refusals(into):
                await handler()
        finally:
            button.enable()

    button = _button(label, run, kind)
    return button


def _button(label: str, handler: Callable[[], Any], kind: str) -> ui.button:
    button = ui.button(label, on_click=handler, color=None)
    return button.props("no-caps unelevated").classes(f"action {kind}")


def confirmed_action(
    label: str, question: str, handler: Callable[[], Awaitable[None]], into: ui.element
) -> ui.button:
    """A button for what cannot be undone: a dialog asks before its handler runs."""
    with ui.dialog().props(f"role=alertdialog aria-label='{label}'") as dialog, ui.card().classes("question"):
        ui.label(question)
        with ui.element("div").classes("buttons"):
            _button("Keep it", lambda: dialog.submit(None), "secondary")
            _button("Delete it", lambda: dialog.submit(label), "danger")

    async def ask() -> None:
        if await dialog:
            await handler()

    return action(label, ask, into, kind="danger")
