"""Identities of requests: which key they have, what it may do, and what is recorded of it."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import HTTPConnection
from starlette.types import Message, Scope, Send

from app.api.access.declared import PUBLIC_PATHS, access_of
from app.api.middleware import client_address
from app.database.engine import Sessions
from app.errors import Conflict, QueueFull
from app.services.access import audit
from app.services.access.authentication import Authenticator
from app.services.access.callers import ANYONE, Caller
from app.thread_pools import AUDITS
from app.validation.origins import SAFE_METHODS

log = logging.getLogger(__name__)

IDENTITY = "recurra.identity"  # the key in the scope
MAX_ACTION_CHARS = 64


@dataclass
class Identity:
    """Who makes a request, and as what it goes into the audit, once its route is known."""

    caller: Caller
    action: str | None = None


def identity_of(scope: Scope) -> Identity | None:
    """The identity of a request; None without authentication."""
    identity: Identity | None = scope.get(IDENTITY)
    return identity


def caller_of(scope: Scope) -> Caller:
    """Who makes a request."""
    identity = identity_of(scope)
    return ANYONE if identity is None else identity.caller


class AccessControl:
    """Identifies requests by their keys, and records what they change; `sessions` see all projects."""

    def __init__(self, authenticator: Authenticator, sessions: Sessions) -> None:
        self.authenticator = authenticator
        self._sessions = sessions

    async def identify(self, scope: Scope) -> None:
        """Find the caller of a request; raises `Unauthenticated`, `LimitReached`, `QueueFull`."""
        if scope["path"] not in PUBLIC_PATHS:
            sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            scope[IDENTITY] = Identity(await self.authenticator.identify(sent))

    def recorder(self, scope: Scope, send: Send) -> Send:
        """What sends the answer to a request, once its entry is in the audit."""
        identity = identity_of(scope)
        if identity is None or scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            return send
        return _Recorder(identity, scope, send, self._record)

    async def _record(self, identity: Identity, scope: Scope, head: Message) -> None:
        """Record an answered request; what cannot be stored is in the log."""
        target = _location(head) or scope["path"]
        facts = {
            "outcome": head["status"],
            "address": client_address(scope),
            "request_id": scope.get("request_id", ""),
        }
        try:
            await AUDITS.run(self._store, identity, target, facts)
        except (SQLAlchemyError, QueueFull):
            who = identity.caller.key_id
            log.exception("not in the audit: %s of %s by %s, %s", identity.action, target, who, facts)

    def _store(self, identity: Identity, target: str, facts: dict[str, int | str]) -> None:
        with self._sessions.begin() as session:
            action = (identity.action or "")[:MAX_ACTION_CHARS]
            audit.record(session, identity.caller, action, target, **facts)  # type: ignore[arg-type]


class _Recorder:
    """Sends an answer; before it begins, what was done is recorded."""

    def __init__(
        self,
        identity: Identity,
        scope: Scope,
        send: Send,
        record: Callable[[Identity, Scope, Message], Awaitable[None]],
    ) -> None:
        self._identity, self._scope, self._send, self._record = identity, scope, send, record

    async def __call__(self, message: Message) -> None:
        """Send a message."""
        if message["type"] == "http.response.start" and self._identity.action is not None:
            await self._record(self._identity, self._scope, message)
        await self._send(message)


def _location(head: Message) -> str | None:
    """Where the answer says that what was made is."""
    for name, value in head.get("headers", ()):
        if name.lower() == b"location":
            return str(value.decode("latin-1"))
    return None


def authorize(connection: HTTPConnection) -> None:
    """Raise `Forbidden` if the caller may not use the route; a dependency of every route of FastAPI."""
    identity = identity_of(connection.scope)
    if identity is None:
        return
    route = connection.scope.get("route")
    access = access_of(getattr(route, "endpoint", None))
    if access.changes:
        identity.action = getattr(route, "operation_id", None) or getattr(route, "name", "")
    access.check(identity.caller)


def refuse_without_key(caller: Caller) -> None:
    """Raise `Conflict` where nobody has a key: keys that anyone could make would outlast that."""
    if caller.key_id is None:
        raise Conflict("Keys are administered with RECURRA_AUTH=keys, or by `recurra keys` on the machine")
