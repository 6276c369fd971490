"""Cursor pages: newest first, stable while rows are added."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

from app.errors import Invalid, Problem

Row = TypeVar("Row")
INT_DIGITS = 18  # what fits into a database's integer


def foreign() -> Invalid:
    """What to say of a cursor from somewhere else."""
    return Invalid(problems=[Problem("/query/cursor", "not a cursor of this service")])


@dataclass(frozen=True)
class Paging:
    """What of a list is wanted: up to `limit` rows after a cursor's position."""

    limit: int
    after: str | None

    @classmethod
    def parse(cls, limit: int, cursor: str | None) -> "Paging":
        """Read an opaque cursor; raises `Invalid` for one this service did not make."""
        if cursor is None:
            return cls(limit, None)
        try:
            return cls(limit, base64.b64decode(cursor, altchars=b"-_", validate=True).decode("utf-8"))
        except (binascii.Error, ValueError):
            raise foreign() from None

    def apply(self, query: Select[Row], key: InstrumentedAttribute[Any]) -> Select[Row]:
        """Order by `key` downwards and cut out the page and one row more."""
        if self.after is not None and key.type.python_type is int:
            if not self.after.isdecimal() or len(self.after) > INT_DIGITS:
                raise foreign()
            query = query.where(key < int(self.after))
        elif self.after is not None:
            query = query.where(key < self.after)
        return query.order_by(key.desc()).limit(self.limit + 1)

    def page(self, rows: list[Row], key: str) -> tuple[list[Row], str | None]:
        """The rows to show and the cursor of what follows, if anything does."""
        if len(rows) <= self.limit:
            return rows, None
        last = str(getattr(rows[self.limit - 1], key))
        return rows[: self.limit], base64.urlsafe_b64encode(last.encode("utf-8")).decode("ascii")
