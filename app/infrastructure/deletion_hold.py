"""A hold on deletions: while one is in the store, whoever would delete a file there leaves it.

Files are deleted after the change that makes them needless was committed. So what a reader of the database
sees after the hold began is there until it ends. A hold that is not renewed, as its process died, lapses.
"""

import time
from types import TracebackType
from typing import Self
from uuid import uuid4

from app.infrastructure.periodic_thread import PeriodicThread
from app.infrastructure.storage import HOLD_SECONDS, HOLDS_ROOT, Storage

RENEW_SECONDS = HOLD_SECONDS / 6
MARGIN_SECONDS = HOLD_SECONDS / 6  # for the time that a renewal takes


class HoldLapsed(Exception):
    """The hold could not be renewed in time, so that files may have been deleted."""


class DeletionHold:
    """Keeps every file of a store, from `with` to its end."""

    def __init__(self, storage: Storage) -> None:
        self._storage, self._key = storage, f"{HOLDS_ROOT}/{uuid4().hex}"
        self._renewed = time.monotonic()  # when the last successful renewal began
        self._thread = PeriodicThread("deletion hold", self._renew, RENEW_SECONDS)

    def __enter__(self) -> Self:
        self._delete_lapsed()
        self._renew()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.stop(RENEW_SECONDS)
        self._storage.delete_file(self._key)

    def check(self) -> None:
        """Raise `HoldLapsed` if the hold has not been in force all the time."""
        if time.monotonic() - self._renewed > HOLD_SECONDS - MARGIN_SECONDS:
            raise HoldLapsed("The store was away for too long: files may have been deleted meanwhile")

    def _renew(self) -> None:
        begun = time.monotonic()
        if begun - self._renewed <= HOLD_SECONDS - MARGIN_SECONDS:  # else `check` shall say so
            self._storage.write(self._key, b"")
            self._renewed = begun

    def _delete_lapsed(self) -> None:
        if holds := self._storage.files(HOLDS_ROOT):
            now = self._storage.now()
            for key, hold in holds.items():
                if now - hold.modified >= HOLD_SECONDS:
                    self._storage.delete_file(key)
