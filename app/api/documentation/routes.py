"""The page `/docs` and its files, which need no key: the document that the page shows asks for one."""

from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.staticfiles import StaticFiles

from app.api.access.declared import DOCS_FILES, DOCS_PATH, requires
from app.errors import NotFound

router = APIRouter(include_in_schema=False)

OWN_FILES = Path(__file__).parent
ASSETS_PACKAGE = "fastapi_offline"  # whose wheel has the files of Swagger UI; nothing of it is imported
# Nothing is loaded from elsewhere, and no other site shows this page in a frame.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # asked for again, and answered by 304
}


def _directories() -> list[Path]:
    """Where the files are."""
    spec = find_spec(ASSETS_PACKAGE)
    locations = () if spec is None else spec.submodule_search_locations or ()
    return [OWN_FILES, *(Path(location) / "static" for location in locations)]


_files = [StaticFiles(directory=directory) for directory in _directories()]


@router.get(DOCS_PATH)
@requires(None)
async def page(request: Request) -> Response:
    """The page."""
    return await _file("page.html", request)


@router.get(DOCS_PATH + "/{name}")
@requires(None)
async def file(name: str, request: Request) -> Response:
    """A file of the page; raises `NotFound`."""
    if name not in DOCS_FILES:
        raise NotFound(f"The page has no file {name}")
    return await _file(name, request)


async def _file(name: str, request: Request) -> Response:
    for files in _files:
        if files.lookup_path(name)[1] is not None:
            response = await files.get_response(name, request.scope)
            response.headers.update(HEADERS)
            return response
    raise NotFound(f"The file {name} of the page is not installed")
