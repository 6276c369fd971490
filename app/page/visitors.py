"""The keys of visitors: in the memory of this process, by a random token in a cookie of their browser."""

import secrets
import time
from collections import OrderedDict

COOKIE = "recurra_visitor"
MAX_VISITORS = 1_000  # with a key, the least recently seen goes first
IDLE_SECONDS = 12 * 3_600.0


class VisitorKeys:
    """Keys by tokens; they are neither written anywhere nor sent back to a browser."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, tuple[str, float]] = OrderedDict()  # with the time of the last use

    def add(self, key: str) -> str:
        """Remember a key; returns its token."""
        token = secrets.token_urlsafe(24)
        self._keys[token] = (key, time.monotonic())
        while len(self._keys) > MAX_VISITORS:
            self._keys.popitem(last=False)
        return token

    def get(self, token: str | None) -> str | None:
        """The key of a token; None for one that is unknown or was not used for long."""
        key, used = self._keys.get(token or "", ("", 0.0))
        if not key or token is None:
            return None
        if time.monotonic() - used > IDLE_SECONDS:
            del self._keys[token]
            return None
        self._keys[token] = (key, time.monotonic())
        self._keys.move_to_end(token)
        return key

    def remove(self, token: str | None) -> None:
        """Forget the key of a token."""
        self._keys.pop(token or "", None)
