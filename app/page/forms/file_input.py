"""An input for a file, which is sent as a stream; a browser shows it, and records by a microphone."""

import json
from collections.abc import Awaitable, Callable
from itertools import count

from markupsafe import Markup
from nicegui import ui
from nicegui.events import GenericEventArguments

from app.page import markup
from app.page.files import NOTATION, ReceivedFile
from app.page.state import page_state

RECORDED = "audio"  # the medium that a microphone records
NOTATION_ENDINGS = ".mid,.midi"
AUDIO_PLAYER = Markup("<audio controls hidden data-file='{}' aria-label='{}'></audio>")
VIDEO_PLAYER = Markup("<video controls hidden data-file='{}' aria-label='{}'></video>")
_numbers = count()


class FileInput:
    """A file that the visitor chooses; `file` is there once it has arrived."""

    def __init__(
        self,
        label: str,
        medium: str = "",
        *,
        note: str = "",
        on_file: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`medium` is audio, video or midi, if the file is such; `on_file` is called when one is there."""
        self.file: ReceivedFile | None = None
        self.identifier = f"file-{next(_numbers)}"
        self._on_file, self._token = on_file, ""
        with ui.element("div").classes("file"):
            markup.show(Markup("<label for='{}'>{}</label>").format(self.identifier, label))
            field = ui.element("input").props(f"type=file id={self.identifier}")
            field.props["accept"] = (
                NOTATION_ENDINGS if medium == NOTATION else f"{medium}/*" if medium else ""
            )
            field.on("change", self._receive, js_handler="(event) => recurra.sendFile(event.target, emit)")
            if medium == RECORDED:
                recorder = ui.element("button").props("type=button").classes("action")
                with recorder:
                    ui.label("Record")
                script = f"(event) => recurra.record(event.currentTarget, '{self.identifier}')"
                recorder.on("click", js_handler=script)
            if note:
                markup.show(Markup("<p class='note'>{}</p>").format(note))
            markup.show(Markup("<span class='sent note' aria-hidden='true'></span>"))
            self._status = ui.label("").classes("note").props("role=status")
            if medium and medium != NOTATION:
                player = AUDIO_PLAYER if medium == RECORDED else VIDEO_PLAYER
                markup.show(player.format(self.identifier, label))

    def take(self, file: ReceivedFile | None) -> None:
        """Have a file that is here already, in place of what was chosen, or none."""
        self._forget()
        self.file = file
        self._status.set_text("" if file is None else _described(file))
        path = "" if file is None or not file.media_type else f"/files/{file.token}"
        ui.run_javascript(f"recurra.showFile({json.dumps(self.identifier)}, {json.dumps(path)})")

    def _forget(self) -> None:
        """Delete what was chosen before."""
        if self._token:
            page_state().files.remove(self._token)
        self._token = ""

    async def _receive(self, event: GenericEventArguments) -> None:
        self._forget()
        answer = event.args
        self._token = str(answer.get("token") or "")
        self.file = page_state().files.get(self._token)
        if self.file is None:
            self._status.set_text(str(answer.get("error") or "The file did not arrive"))
            return
        self._status.set_text(_described(self.file))
        if self._on_file is not None:
            await self._on_file()


def _described(file: ReceivedFile) -> str:
    return f"{file.name}, {markup.byte_size(file.size)}"
