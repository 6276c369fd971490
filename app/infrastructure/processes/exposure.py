"""Which addresses a service may listen on that asks nobody for a key: loopback addresses only."""

import ipaddress
import socket


class Exposed(Exception):
    """The service would answer other machines without asking for keys."""


def check_exposure(host: str, *, needs_keys: bool, insecure: bool) -> None:
    """Raise `Exposed` if a service on this host, a name or an address, is for everybody who reaches it.

    An empty host is a Unix socket's. Raises `OSError` for a name that cannot be resolved.
    """
    if needs_keys or insecure or not host:
        return
    resolved = {entry[4][0] for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    if not all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in resolved):
        raise Exposed(
            f"Other machines could do everything at {host}: set RECURRA_AUTH=keys (the first key is made by "
            "`recurra keys create`), listen on 127.0.0.1, or say --insecure"
        )
