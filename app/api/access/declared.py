"""What a route needs, declared at its endpoint in one way: `@requires(Scope.READ)`.

The same for FastAPI's routes, for WebSockets and for raw routes. The application does not start with a route
that declares nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import APIRouter

from app.services.access.callers import Caller, Scope

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

ATTRIBUTE = "__access__"
DOCS_PATH = "/docs"
DOCS_FILES = ("page.css", "page.js", "swagger-ui.css", "swagger-ui-bundle.js")
PUBLIC_PATHS = frozenset(  # that need no key
    {"/", "/healthz", "/readyz", DOCS_PATH, *(f"{DOCS_PATH}/{name}" for name in DOCS_FILES)}
)


@dataclass(frozen=True)
class Access:
    """The scope that a route needs, none if any key will do; and whether its calls go into the audit."""

    scope: Scope | None
    changes: bool

    def check(self, caller: Caller) -> None:
        """Raise `Forbidden` if the caller may not use the route."""
        if self.scope is not None:
            caller.require(self.scope)


def requires(scope: Scope | None, *, changes: bool | None = None) -> Callable[[Endpoint], Endpoint]:
    """Declare the scope that an endpoint needs; None is any key, and none at all on `PUBLIC_PATHS`.

    POST, PUT and DELETE of endpoints that train or administer change something, unless said otherwise.
    """
    access = Access(scope, scope in {Scope.TRAIN, Scope.ADMIN} if changes is None else changes)

    def declare(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, ATTRIBUTE, access)
        return endpoint

    return declare


def access_of(endpoint: Any) -> Access:
    """What an endpoint needs; raises `TypeError` where nothing is declared."""
    access = getattr(endpoint, ATTRIBUTE, None)
    if not isinstance(access, Access):
        raise TypeError(f"the endpoint {endpoint} does not declare its scope: see app.api.access.declared")
    return access


def declared_by(router: APIRouter) -> dict[str, Access]:
    """What each operation of a router needs, by its id; raises `TypeError` if a route does not declare it."""
    declared = {}
    for route in router.routes:
        name = getattr(route, "operation_id", None) or getattr(route, "path", "")
        declared[str(name)] = access_of(getattr(route, "endpoint", None))
    return declared
