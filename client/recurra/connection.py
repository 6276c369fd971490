"""Where the server is, and how httpx is set up for it."""

import os
from typing import Any

from recurra.protocol.retries import Retries
from recurra.version import VERSION

DEFAULT_URL = "http://127.0.0.1:8000"  # of `recurra up`
TIMEOUT_SECONDS = 60.0


def http_arguments(url: str | None, api_key: str | None, timeout: float) -> dict[str, Any]:
    """Httpx's arguments for a server; without a URL or key those of RECURRA_URL and RECURRA_API_KEY.

    A URL without a scheme, such as `127.0.0.1:8000`, is one of http.
    """
    key = api_key if api_key is not None else os.environ.get("RECURRA_API_KEY")
    headers = {"User-Agent": f"recurra/{VERSION}"} | ({"Authorization": f"Bearer {key}"} if key else {})
    base_url = (url or os.environ.get("RECURRA_URL") or DEFAULT_URL).strip().rstrip("/")
    if "://" not in base_url:
        base_url = f"http://{base_url}"
    return {"base_url": base_url, "timeout": timeout, "headers": headers}


def make_retries(count: int) -> Retries:
    """Retries of a request that is safe to repeat, at most `count`."""
    return Retries(count=count)
