"""What all views share: the service, the keys of visitors, the files that have arrived."""

from dataclasses import dataclass

import httpx
from nicegui import app, ui
from starlette.requests import Request

from app.page.calls import ServiceClient
from app.page.files import ReceivedFiles
from app.page.visitors import COOKIE, VisitorKeys


@dataclass(frozen=True)
class PageState:
    """What the composition root of the page builds."""

    http: httpx.AsyncClient
    public_url: str  # of the service, as people reach it
    keys: VisitorKeys
    files: ReceivedFiles


def page_state() -> PageState:
    """The state of this process."""
    state: PageState = app.state.page
    return state


def visitor_request() -> Request:
    """The request for the page that is shown."""
    request = ui.context.client.request
    if request is None:
        raise RuntimeError("there is no page here")
    return request


def has_key() -> bool:
    """Whether the visitor has given a key."""
    return page_state().keys.get(visitor_request().cookies.get(COOKIE)) is not None


def service() -> ServiceClient:
    """The service as the visitor of the page that is shown may use it."""
    state = page_state()
    return ServiceClient(state.http, state.keys.get(visitor_request().cookies.get(COOKIE)))


def root_path() -> str:
    """What stands before the paths of the page, behind a proxy that shows it below a path."""
    request = visitor_request()
    prefix = request.headers.get("X-Forwarded-Prefix") or request.scope.get("root_path", "")
    return str(prefix).rstrip("/")
