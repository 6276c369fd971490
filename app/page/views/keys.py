"""The key of a visitor: a plain form, whose answer is a cookie with a token in place of the key."""

import re
from typing import Annotated

from fastapi import Form, Request
from fastapi.responses import RedirectResponse, Response
from markupsafe import Markup
from nicegui import app

from app.page import markup
from app.page.calls import CallRefused
from app.page.frame import heading, view
from app.page.state import has_key, page_state
from app.page.visitors import COOKIE, IDLE_SECONDS

MAX_KEY_CHARS = 256
KEY_TEXT = re.compile(r"[\x21-\x7e]{1,256}")
NOTES = {"refused": "The service does not know this key.", "unreachable": "The service does not answer."}
FORM = Markup(
    "<form class='key-form' method='post' action='key'>"
    "<label for='key'>Key</label>"
    "<input id='key' name='key' type='password' autocomplete='current-password' required maxlength='256'>"
    "<button class='action primary' type='submit'>Use this key</button></form>"
)
FORGET = Markup(
    "<form method='post' action='key'><input type='hidden' name='key' value=''>"
    "<button class='action danger' type='submit'>Forget the key</button></form>"
)


@view("/key", "/key")
async def key_view(note: str = "") -> None:
    """The form."""
    heading(
        "Key", "It stays in the memory of the page's process, for this browser, until 12 hours without use."
    )
    if note in NOTES:
        markup.show(Markup("<p class='warning' role='alert'>{}</p>").format(NOTES[note]))
    markup.show(FORM)
    if has_key():
        markup.show(FORGET)


@app.post("/key", include_in_schema=False)
async def set_key(request: Request, key: Annotated[str, Form(max_length=MAX_KEY_CHARS)] = "") -> Response:
    """Remember a key that the service knows; an empty one forgets the last."""
    state = page_state()
    state.keys.remove(request.cookies.get(COOKIE))
    if not key:
        response = RedirectResponse("./key", 303)
        response.delete_cookie(COOKIE)
        return response
    if not KEY_TEXT.fullmatch(key):
        return RedirectResponse("./key?note=refused", 303)
    client = state.clients.open(key)
    try:
        await client.get("/v1/me")
    except CallRefused as error:
        return RedirectResponse(f"./key?note={'refused' if error.status else 'unreachable'}", 303)
    finally:
        await client.close()
    response = RedirectResponse("./", 303)
    response.set_cookie(
        COOKIE, state.keys.add(key), max_age=int(IDLE_SECONDS), httponly=True, samesite="strict",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return response
