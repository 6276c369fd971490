"""Where webhooks may be sent: only to hosts that the operator has named, and only to addresses that fit them.

A URL of a user names its target; without this, the service would reach what its own network reaches for
whoever may write a URL (server-side request forgery).
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.errors import Invalid, Problem

LOCALHOST = "localhost"
DEFAULT_PORTS = {"https": 443, "http": 80}
MAX_PORT = 65_535
URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9][a-z0-9.-]{0,252})(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>[/?][!-~]*)?",
    re.IGNORECASE,
)
# Prefixes within which an address stands for one of IPv4 that a gateway translates it to.
TRANSLATED = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TargetRefused(Exception):
    """Nothing may be sent to this target; the message says why."""


@dataclass(frozen=True)
class Target:
    """A URL in its parts; `host` is in lower case, without the brackets of an IPv6 address."""

    scheme: str
    host: str
    port: int
    path: str  # with the query


class AllowedTargets:
    """The hosts, each with its port, to which webhooks may be sent, and the private networks of these."""

    def __init__(self, hosts: Iterable[str] = (), networks: Iterable[str] = ()) -> None:
        """`hosts` are such as `hooks.example.com` (port 443) or `127.0.0.1:9000`."""
        self._hosts = {_split_port(host.lower()) for host in hosts}
        self._networks = tuple(map(ipaddress.ip_network, networks))

    @property
    def any(self) -> bool:
        """Whether any host is allowed."""
        return bool(self._hosts)

    def parse(self, url: str) -> Target:
        """The target of a URL; raises `Invalid` for one that is not allowed."""
        try:
            return self.check_url(url)
        except TargetRefused as error:
            raise Invalid(problems=[Problem("/url", str(error))]) from None

    def check_url(self, url: str) -> Target:
        """The same; raises `TargetRefused`."""
        match = URL.fullmatch(url)
        if match is None or any(char in (match["path"] or "") for char in "#\\"):
            raise TargetRefused("is no URL such as https://hooks.example.com/path, without user and fragment")
        scheme, host = match["scheme"].lower(), match["host"].lower().strip("[]")
        port = int(match["port"] or DEFAULT_PORTS[scheme])
        if not self._hosts:
            raise TargetRefused("webhooks are off: the operator allows their hosts by RECURRA_WEBHOOK_HOSTS")
        named = (host, port) in self._hosts or (port == DEFAULT_PORTS[scheme] and (host, None) in self._hosts)
        if not named:
            raise TargetRefused("is of a host or port that RECURRA_WEBHOOK_HOSTS here does not name")
        if scheme == "http" and not is_loopback(host):
            raise TargetRefused("must begin with https://")
        path = match["path"] or "/"
        return Target(scheme, host, port, path if path.startswith("/") else f"/{path}")

    def check_addresses(self, host: str, addresses: Sequence[str]) -> None:
        """Raise `TargetRefused` unless a host may have every one of the addresses that it has."""
        for text in addresses:
            address = _plain(ipaddress.ip_address(text.partition("%")[0]))
            if not self._may_have(host, address):
                raise TargetRefused("The host has an address that is not public, and not allowed either")

    def _may_have(self, host: str, address: Address) -> bool:
        if is_loopback(host):
            return address.is_loopback
        if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
            return False
        if host == str(address) or any(address in network for network in self._networks):
            return True
        return address.is_global and not any(address in network for network in TRANSLATED)


def is_loopback(host: str) -> bool:
    """Whether a host is named as this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == LOCALHOST


def _plain(address: Address) -> Address:
    """The IPv4 address that one of IPv6 is mapped from, if any."""
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _split_port(host: str) -> tuple[str, int | None]:
    name, _, port = host.rpartition(":")
    if name and port.isdigit() and (not name.count(":") or name.endswith("]")):
        return name.strip("[]"), min(int(port), MAX_PORT)
    return host.strip("[]"), None
