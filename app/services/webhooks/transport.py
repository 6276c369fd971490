"""Sends one delivery over HTTP: to an address that was checked, without redirects, within limits of time.

The name is looked up once, and the connection goes to an address of that answer: a name whose answers change
(DNS rebinding) gains nothing.
"""

import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from typing import Any

import httpcore

from app.services.webhooks.targets import AllowedTargets, TargetRefused

TOTAL_SECONDS = 10.0  # of an attempt, from the lookup of the name to the head of the answer

Timeout = float | None


class _DeadlineStream(httpcore.NetworkStream):
    """A stream whose operations together end by a deadline, on the clock of time.monotonic."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: Timeout = None) -> bytes:
        """See `httpcore.NetworkStream`."""
        return self._stream.read(max_bytes, _left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: Timeout = None) -> None:
        """See `httpcore.NetworkStream`."""
        self._stream.write(buffer, _left(self._deadline, timeout))

    def close(self) -> None:
        """See `httpcore.NetworkStream`."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: Timeout = None
    ) -> httpcore.NetworkStream:
        """See `httpcore.NetworkStream`."""
        left = _left(self._deadline, timeout)
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """See `httpcore.NetworkStream`."""
        return self._stream.get_extra_info(info)


class CheckedBackend(httpcore.NetworkBackend):
    """Connects to hosts of `targets` only, and only if all of their addresses may be."""

    def __init__(self, targets: AllowedTargets, deadline: float) -> None:
        self._targets, self._deadline, self._backend = targets, deadline, httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: Timeout = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of a host; raises `TargetRefused`, and what httpcore raises."""
        addresses = look_up(host, port)
        self._targets.check_addresses(host, addresses)
        left = _left(self._deadline, timeout)
        stream = self._backend.connect_tcp(addresses[0], port, left, local_address, socket_options)
        return _DeadlineStream(stream, self._deadline)


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a host; raises `TargetRefused` where it has none."""
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise TargetRefused("The host has no address") from None
    return [str(answer[4][0]) for answer in answers]


def post(targets: AllowedTargets, url: str, headers: Mapping[str, str], body: bytes) -> int:
    """Send a body to a URL and return the status of the answer, of which nothing else is read.

    Raises `TargetRefused`, and what httpcore raises.
    """
    target = targets.check_url(url)
    name = f"[{target.host}]" if ":" in target.host else target.host
    address = httpcore.URL(
        scheme=target.scheme.encode(),
        host=name.strip("[]").encode(),
        port=target.port,
        target=target.path.encode(),
    )
    backend = CheckedBackend(targets, time.monotonic() + TOTAL_SECONDS)
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), TOTAL_SECONDS)
    size = {"content-length": str(len(body)), "connection": "close"}
    fields = {"host": f"{name}:{target.port}", **headers, **size}
    with (
        httpcore.ConnectionPool(
            ssl_context=_tls() if target.scheme == "https" else None, network_backend=backend
        ) as pool,
        pool.stream(
            "POST",
            address,
            headers=[(key.encode(), value.encode()) for key, value in fields.items()],
            content=body,
            extensions={"timeout": timeouts},
        ) as response,
    ):
        return int(response.status)


def _tls() -> ssl.SSLContext:
    """A context that checks certificates, by the usual authorities and those of this machine."""
    context = httpcore.default_ssl_context()
    context.load_default_certs()
    return context


def _left(deadline: float, timeout: Timeout) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout(f"no answer within {TOTAL_SECONDS:g} s")
    return left if timeout is None else min(left, timeout)
