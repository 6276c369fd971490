"""What all views share: the service, the keys of visitors, the files that have arrived."""

from collections import OrderedDict
from dataclasses import dataclass

import httpx
from nicegui import app, ui
from starlette.requests import Request

from app.page.calls import ServiceClient
from app.page.files import ReceivedFiles
from app.page.visitors import COOKIE, MAX_VISITORS, VisitorKeys
from recurra.async_rest import AsyncRestClient

CALL_SECONDS = 30.0
MAX_CALLS = 64  # of one visitor at a time
RETRIES = 2  # of a call that is safe to repeat


class ServiceClients:
    """Clients of the service, one for each key in use and one for visitors without."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._clients: OrderedDict[str | None, ServiceClient] = OrderedDict()

    def get(self, key: str | None) -> ServiceClient:
        """The client of a key, which is made when it is first needed."""
        if key not in self._clients:
            self._clients[key] = self.open(key)
            while len(self._clients) > MAX_VISITORS:
                self._clients.popitem(last=False)
        self._clients.move_to_end(key)
        return self._clients[key]

    def open(self, key: str | None) -> ServiceClient:
        """A client that is not remembered."""
        # A transport of its own: the service is asked directly, whatever proxy the environment names.
        transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=MAX_CALLS))
        rest = AsyncRestClient(self._url, key, timeout=CALL_SECONDS, retries=RETRIES, transport=transport)
        return ServiceClient(rest)

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.close()


@dataclass(frozen=True)
class PageState:
    """What the composition root of the page builds."""

    clients: ServiceClients
    public_url: str  # of the service, as people reach it
    keys: VisitorKeys
    files: ReceivedFiles  # of visitors
    examples: ReceivedFiles  # of data sets
    needs_keys: bool  # whether the service does, as far as the settings say


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
    return key_of(visitor_request()) is not None


def key_of(request: Request) -> str | None:
    """The key of the visitor who sends a request."""
    return page_state().keys.get(request.cookies.get(COOKIE))


def service() -> ServiceClient:
    """The service as the visitor of the page that is shown may use it."""
    return page_state().clients.get(key_of(visitor_request()))


def root_path() -> str:
    """What stands before the paths of the page, behind a proxy that shows it below a path."""
    request = visitor_request()
    prefix = request.headers.get("X-Forwarded-Prefix") or request.scope.get("root_path", "")
    return str(prefix).rstrip("/")
