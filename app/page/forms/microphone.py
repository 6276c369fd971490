"""Speech while it is spoken: a browser's microphone, and the words that the service recognises meanwhile."""

import asyncio
import base64
import binascii
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from itertools import count

from markupsafe import Markup
from nicegui import ui
from nicegui.events import GenericEventArguments

from app.page import markup
from app.page.frame import refusals
from app.page.state import service
from app.typedefs import Json

MAX_PIECE_CHARS = 1 << 17  # of some samples in base64; a browser sends a quarter of a second at a time
MAX_WAITING_PIECES = 120  # that the service has not taken
MAX_SILENCE_SECONDS = 15.0  # between two pieces of a browser
MAX_LISTENING_SECONDS = 600.0
NOTE = "The words appear while you speak. Nothing is stored."
_numbers = count()


class LiveTranscript:
    """A button that listens until it is clicked again, and what is heard.

    The samples go from the browser over the page's own connection, so that no key leaves the page's process.
    """

    def __init__(self, path: str, on_end: Callable[[Json], None]) -> None:
        """`path` is of the model's route `listen`, with a query; `on_end` gets the whole prediction."""
        self._path, self._on_end = path, on_end
        self._pieces: asyncio.Queue[bytes | None] | None = None
        self._final: list[str] = []
        identifier = f"listen-{next(_numbers)}"
        self._stop = f"recurra.stopListening('{identifier}')"
        with ui.element("div").classes("file"):
            button = ui.element("button").props(f"type=button id={identifier}").classes("action secondary")
            with button:
                ui.label("Listen live")
            button.on("click", self._hear, js_handler="(event) => recurra.listen(event.currentTarget, emit)")
            markup.show(Markup("<p class='note'>{}</p>").format(NOTE))
            markup.show(Markup("<span class='sent note' role='status'></span>"))
            self._text = markup.show(Markup("")).props("aria-live=polite")
            self._problems = ui.element("div").props("aria-live=assertive")

    async def _hear(self, event: GenericEventArguments) -> None:
        """Take what the browser sends: the rate of the samples first, then samples, then the end."""
        message = event.args
        if "rate" in message and self._pieces is None:
            await self._converse(int(message["rate"]))
        elif self._pieces is not None:
            piece = None if "samples" not in message else _decoded(str(message["samples"]))
            try:
                self._pieces.put_nowait(piece)
            except asyncio.QueueFull:
                ui.run_javascript(self._stop)

    async def _converse(self, rate: int) -> None:
        pieces: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_WAITING_PIECES)
        self._pieces, self._final = pieces, []
        self._text.set_content(Markup(""))
        try:
            async with refusals(self._problems):
                path = f"{self._path}{'&' if '?' in self._path else '?'}sample_rate={rate}"
                async with aclosing(service().listen(path, samples_of(pieces))) as messages:
                    async for message in messages:
                        self._show(message)
        finally:
            self._pieces = None
            if not self._text.is_deleted:  # the visitor is still there
                ui.run_javascript(self._stop)

    def _show(self, message: Json) -> None:
        if self._text.is_deleted:
            return
        if message.pop("done", False):
            self._on_end(message)
            return
        text = message["text"]
        final = " ".join([*self._final, text] if message["final"] else self._final)
        unsure = "" if message["final"] else text
        self._text.set_content(
            Markup("<p class='written'>{} <span class='prompt'>{}</span></p>").format(final, unsure)
        )
        if message["final"]:
            self._final.append(text)


def _decoded(piece: str) -> bytes:
    """Samples from base64; none of what is too long, or no base64."""
    if len(piece) > MAX_PIECE_CHARS:
        return b""
    try:
        return base64.b64decode(piece, validate=True)
    except binascii.Error:
        return b""


async def samples_of(pieces: "asyncio.Queue[bytes | None]") -> AsyncIterator[bytes]:
    """The pieces of a recording until it ends, until a browser is silent, or for as long as one may last."""
    end = time.monotonic() + MAX_LISTENING_SECONDS
    while (left := end - time.monotonic()) > 0:
        try:
            async with asyncio.timeout(min(left, MAX_SILENCE_SECONDS)):
                piece = await pieces.get()
        except TimeoutError:
            return
        if piece is None:
            return
        yield piece
