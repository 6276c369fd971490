"""Which key a request has. A process remembers keys for a second, so that requests wait for no query."""

import base64
import binascii
import hmac
import time
from dataclasses import dataclass
from math import inf

from app.database.engine import Sessions
from app.errors import NotFound, Unauthenticated
from app.services.access import keys
from app.services.access.callers import Caller, Scope
from app.services.access.rates import RequestRates
from app.services.lookup_cache import LookupCache
from app.thread_pools import KEY_READS

MAX_KEYS = 4096  # that a process remembers
MAX_OUTAGE_SECONDS = 300.0  # for which keys stay valid while the database does not answer


@dataclass(frozen=True)
class _KnownKey:
    """A valid key."""

    digest: str
    caller: Caller
    until: float  # on the monotonic clock


class Authenticator:
    """Finds the callers of requests by their keys; `readers` see all projects."""

    def __init__(self, readers: Sessions, rates: RequestRates) -> None:
        self._readers, self._rates = readers, rates
        self._cache: LookupCache[str, _KnownKey] = LookupCache(self._fetch, MAX_KEYS, MAX_OUTAGE_SECONDS)

    async def identify(self, authorization: bytes) -> Caller:
        """The caller whose key is in the header `Authorization`; raises `Unauthenticated`, `LimitReached`."""
        key = sent_key(authorization)
        if key is None:
            raise Unauthenticated
        prefix = keys.prefix_of(key)
        try:
            known = None if prefix is None else await self._cache.get(prefix)
        except NotFound:
            known = None
        if known is None or not hmac.compare_digest(known.digest, keys.digest(key)):
            raise Unauthenticated("This key is not valid: it is unknown, revoked or expired")
        if time.monotonic() >= known.until:
            raise Unauthenticated("This key has expired")
        await self._rates.count(known.caller)
        return known.caller

    async def close(self) -> None:
        """Disconnect from Redis."""
        await self._rates.close()

    def forget(self, prefix: str) -> None:
        """Forget a key, as it was changed."""
        self._cache.forget(lambda known: known == prefix)

    def distrust(self) -> None:
        """Read every key anew: notices may have been missed."""
        self._cache.distrust()

    async def _fetch(self, prefix: str) -> _KnownKey:
        return await KEY_READS.run(self._read, prefix)

    def _read(self, prefix: str) -> _KnownKey:
        with self._readers() as session:
            valid = keys.find_valid(session, prefix)
        if valid is None:
            raise NotFound
        row, seconds = valid
        scopes = frozenset(Scope(scope) for scope in row.scopes)
        caller = Caller(row.project, scopes, row.id, row.name, keys.limits_of(row))
        return _KnownKey(row.digest, caller, inf if seconds is None else time.monotonic() + seconds)


def sent_key(authorization: bytes) -> str | None:
    """The key in the header `Authorization`: as a bearer token, or as the password of basic credentials."""
    scheme, _, credentials = authorization.partition(b" ")
    match scheme.lower():
        case b"bearer":
            return credentials.strip().decode("latin-1")
        case b"basic":
            try:
                return base64.b64decode(credentials).partition(b":")[2].decode("latin-1")
            except binascii.Error:
                return ""
    return None
