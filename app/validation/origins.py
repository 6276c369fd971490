"""Which hosts are answered for, and which pages may change anything: what stands against other sites.

A browser sends requests for any page that its user opens. By DNS rebinding a page gives its own name the
address of this service, so that the browser takes both for one site, but the name stays in `Host`. Requests
that need no permission (CORS), such as simple POSTs and the handshakes of WebSockets, have the page's origin
in `Origin`.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from starlette.types import Scope

from app.errors import Forbidden, Misdirected, Problem

LOOPBACK_NAME = "localhost"  # with every name below it (RFC 6761, 6.3)
ANY_HOST = "*"
HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^][:/?#@\\\s,]+))(?::[0-9]{0,5})?")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")  # which change nothing here
DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_SHOWN_CHARS = 100  # of a refused host
CACHED_HOSTS = 256


class SitePolicy:
    """The hosts that are answered for: loopback names, IP addresses, and the given names.

    `*.example.com` stands for every name below `example.com`, `*` for all names. Pages of other origins may
    use `safe_methods`, whose answers they cannot read.
    """

    def __init__(self, names: Iterable[str] = (), safe_methods: Sequence[str] = SAFE_METHODS) -> None:
        self._safe_methods = safe_methods
        self._names = {name.lower().rstrip(".") for name in names}
        self._suffixes = tuple(name[1:] for name in self._names if name.startswith("*."))
        self._answers_for = lru_cache(CACHED_HOSTS)(self._parse)

    def check(self, scope: Scope) -> None:
        """Raise `Misdirected` for a host that is not answered for, `Forbidden` for another origin's page."""
        hosts, origins = [], []
        for name, value in scope["headers"]:
            if name == b"host":
                hosts.append(value)
            elif name == b"origin":
                origins.append(value)
        for host in hosts:  # a request without one is no browser's
            if not self._answers_for(host):
                raise _misdirected(host)
        if origins and (scope["type"] == "websocket" or scope["method"] not in self._safe_methods):
            _check_origins(hosts, origins)

    def _parse(self, host: bytes) -> bool:
        parsed = HOST.fullmatch(host.decode("latin-1").lower())
        if parsed is None:
            return False
        name = parsed["address"] or parsed["name"].removesuffix(".")
        return _is_address(name) or (parsed["name"] is not None and self._is_known(name))

    def _is_known(self, name: str) -> bool:
        if name == LOOPBACK_NAME or name.endswith(f".{LOOPBACK_NAME}") or ANY_HOST in self._names:
            return True
        return name in self._names or name.endswith(self._suffixes)


def _is_address(text: str) -> bool:
    """Whether it is an IP address, whose owner nobody can change: a page of it is this service's own."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _misdirected(host: bytes) -> Misdirected:
    shown = host.decode("latin-1")[:MAX_SHOWN_CHARS]
    detail = f"this server does not answer for the host {shown}; RECURRA_ALLOWED_HOSTS lists further names"
    return Misdirected(f"{detail[0].upper()}{detail[1:]}", [Problem("/header/Host", detail)])


def _check_origins(hosts: Sequence[bytes], origins: Sequence[bytes]) -> None:
    """Raise `Forbidden` where a page is not of the host that it calls.

    The scheme does not count, as a proxy may end the encryption before this server.
    """
    called = hosts[0].decode("latin-1").lower() if len(hosts) == 1 else ""
    for origin in origins:
        scheme, _, authority = origin.decode("latin-1").lower().partition("://")
        if not authority or called not in (authority, f"{authority}:{DEFAULT_PORTS.get(scheme)}"):
            detail = "a page of another origin may change nothing here"
            raise Forbidden(f"{detail[0].upper()}{detail[1:]}", [Problem("/header/Origin", detail)])
