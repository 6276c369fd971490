"""The composition root of the page's process: `python -m app.page.main --port … --url …`."""

import argparse
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from urllib.parse import unquote

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from nicegui import app, ui

from app.errors import AppError
from app.infrastructure import logs
from app.infrastructure.processes.exposure import Exposed, check_exposure
from app.infrastructure.processes.managed import keep_files_private
from app.page.files import ReceivedFiles
from app.page.frame import MISSING, show_missing
from app.page.gate import Gate
from app.page.state import PageState, ServiceClients, key_of, page_state
from app.page.views import VIEWS
from app.page.visitors import VisitorKeys
from app.settings import KEYS, Settings
from app.validation.origins import SitePolicy

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
LOCAL_SERVICE_URL = "http://127.0.0.1:8000"
MAX_CONNECTIONS = 1_024
SHUTDOWN_SECONDS = 2
MAX_EXAMPLE_BYTES = 32 << 20  # of an example that is a file; the service sends smaller ones
Lifespan = AbstractAsyncContextManager[None]
NO_ORIGIN_IS_SAFE: tuple[str, ...] = ()  # methods that another origin may use


def make_page(settings: Settings, url: str, public_url: str) -> Gate:
    """The application; `url` is the service's, `public_url` what people call it by."""
    host = FastAPI(
        docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan(settings, url, public_url)
    )
    app.add_static_files("/static", STATIC)
    app.add_exception_handler(MISSING, show_missing)
    ui.run_with(
        host,
        title="Recurra",
        tailwind=False,
        binding_refresh_interval=None,
        reconnect_timeout=10.0,
        show_welcome_message=False,
    )
    log.info("%d views of %s", len(VIEWS), url)
    return Gate(host, SitePolicy(settings.host_names, NO_ORIGIN_IS_SAFE))


def _lifespan(settings: Settings, url: str, public_url: str) -> Callable[[FastAPI], Lifespan]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        clients, needs_keys = ServiceClients(url), settings.auth == KEYS
        files, examples = ReceivedFiles(settings.max_upload_bytes), ReceivedFiles(MAX_EXAMPLE_BYTES)
        app.state.page = PageState(
            clients, public_url.rstrip("/"), VisitorKeys(), files, examples, needs_keys
        )
        yield
        await clients.close()
        files.close()
        examples.close()

    return lifespan


@app.post("/files", include_in_schema=False)
async def receive_file(request: Request) -> Response:
    """Take a file, the body of the request, and answer with its token."""
    state = page_state()
    if state.needs_keys and key_of(request) is None:
        return PlainTextResponse("Give a key first", 401)
    name = unquote(request.headers.get("x-file-name", "file"))
    try:
        token = await state.files.receive(name, request.stream())
    except AppError as error:
        return PlainTextResponse(error.message, error.status)
    return JSONResponse({"token": token})


@app.get("/files/{token}", include_in_schema=False)
async def play_file(request: Request, token: str) -> Response:
    """Send sound or moving pictures back, for a player."""
    state = page_state()
    if state.needs_keys and key_of(request) is None:
        return PlainTextResponse("Give a key first", 401)
    file = state.examples.get(token) or state.files.get(token)
    if file is None or not file.media_type:
        return PlainTextResponse("There is no such file any more", MISSING)
    return FileResponse(file.path, media_type=file.media_type, headers={"Cache-Control": "private"})


@app.get("/healthz", include_in_schema=False)
async def health() -> Response:
    """Whether the process is alive."""
    return JSONResponse({"status": "ok"})


def run(listener: socket.socket | None, host: str, port: int, url: str, public_url: str) -> None:
    """Serve until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        make_page(Settings(), url, public_url),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        ws="websockets-sansio",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    uvicorn.Server(config).run(sockets=None if listener is None else [listener])


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m app.page.main", description="Run the page.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--url", default=LOCAL_SERVICE_URL, help="of the service")
    parser.add_argument("--public-url", help="of the service, as people reach it")
    parser.add_argument("--insecure", action="store_true", help="answer other machines without keys")
    parser.add_argument("--fd", type=int, help="a listening socket inherited from the parent")
    arguments = parser.parse_args()
    logs.configure_process()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    keep_files_private()
    listener = None if arguments.fd is None else socket.socket(fileno=arguments.fd)
    try:
        check_exposure(
            arguments.host if listener is None else str(listener.getsockname()[0]),
            needs_keys=Settings().auth == KEYS,
            insecure=arguments.insecure,
        )
    except Exposed as error:
        sys.exit(str(error))
    os.environ.pop("RECURRA_API_KEY", None)  # a visitor has a key of their own, or none
    run(listener, arguments.host, arguments.port, arguments.url, arguments.public_url or arguments.url)


if __name__ == "__main__":
    main()
