"""Requests that are handed to the process for large ones after they were read: small, but much work."""

from starlette.types import Message, Receive, Scope

FORWARD = "recurra.forward"  # in a scope: the function that forwards its request; none in that process itself
OF_THE_BODY = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})  # headers


class HandOver(Exception):
    """The process for large requests is to handle this one."""


def read_request(scope: Scope, receive: Receive, body: bytes) -> tuple[Scope, Receive]:
    """The scope and messages of a request as if its decoded body had not been read yet."""
    headers = [header for header in scope["headers"] if header[0] not in OF_THE_BODY]
    headers.append((b"content-length", b"%d" % len(body)))
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return unread.pop() if unread else await receive()

    return {**scope, "headers": headers}, receive_again
