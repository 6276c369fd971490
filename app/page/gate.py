"""What stands between browsers and the page: hosts, origins, and headers that keep other sites out."""

from http import HTTPStatus

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import AppError
from app.validation.origins import SitePolicy

# Everything comes from this process. The framework's templates are compiled in the browser, by `eval`.
CONTENT_SOURCES = (
    b"default-src 'self'",
    b"script-src 'self' 'unsafe-inline' 'unsafe-eval'",
    b"style-src 'self' 'unsafe-inline'",
    b"img-src 'self' data: blob:",
    b"media-src 'self' data: blob:",
    b"font-src 'self' data:",
    b"object-src 'none'",
    b"base-uri 'self'",
    b"form-action 'self'",
    b"frame-ancestors 'none'",
)
SECURITY_HEADERS = (
    (b"content-security-policy", b"; ".join(CONTENT_SOURCES)),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
POLICY_VIOLATION = 1008  # a closing code of RFC 6455


class Gate:
    """An application that answers its own hosts and origins only.

    Its WebSocket does what its user may do, and its framework allows every origin to read answers, so that
    requests with another origin are refused whatever their method is.
    """

    def __init__(self, app: ASGIApp, sites: SitePolicy) -> None:
        self.app, self._sites = app, sites

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event."""
        if scope["type"] in ("http", "websocket"):
            try:
                self._sites.check(scope)
            except AppError as error:
                await _refuse(scope, receive, send, error)
                return
        await self.app(scope, receive, _with_headers(send) if scope["type"] == "http" else send)


def _with_headers(send: Send) -> Send:
    async def send_message(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *SECURITY_HEADERS]}
        await send(message)

    return send_message


async def _refuse(scope: Scope, receive: Receive, send: Send, error: AppError) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        return
    text = f"{HTTPStatus(error.status).phrase}: {error.message}"
    await PlainTextResponse(text, error.status)(scope, receive, send)
