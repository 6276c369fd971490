"""Cursor paging: newest first, stable while rows are added."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

from app.errors import Invalid, Problem

Row = TypeVar("Row")
MAX_INT_DIGITS = 18  # that fit into a database's integer


def invalid_cursor() -> Invalid:
    """Return the error for a cursor that this service did not make."""
    return Invalid(problems=[Problem("/query/cursor", "not a cursor of this service")])


@dataclass(frozen=True)
class Paging:
    """The requested page of a list: up to `limit` rows after the key `after`."""

    limit: int
    after: str | None

    @classmethod
    def parse(cls, limit: int, cursor: str | None) -> "Paging":
        """Decode an opaque cursor; raises `Invalid` for one that this service did not make."""
        if cursor is None:
            return cls(limit, None)
        try:
            return cls(limit, base64.b64decode(cursor, altchars=b"-_", validate=True).decode("utf-8"))
        except (binascii.Error, ValueError):
            raise invalid_cursor() from None

    def apply(self, query: Select[Row], key: InstrumentedAttribute[Any]) -> Select[Row]:
        """Restrict a query to the page and one row more, in descending order of `key`."""
        if self.after is not None and key.type.python_type is int:
            if not self.after.isdecimal() or len(self.after) > MAX_INT_DIGITS:
                raise invalid_cursor()
            query = query.where(key < int(self.after))
        elif self.after is not None:
            query = query.where(key < self.after)
        return query.order_by(key.desc()).limit(self.limit + 1)

    def page(self, rows: list[Row], key: str) -> tuple[list[Row], str | None]:
        """Return the page's rows and the cursor of the next page, None after the last page.

        `rows` are those of the query that `apply` made: one more than `limit` if there are more.
        """
        if len(rows) <= self.limit:
            return rows, None
        last = str(getattr(rows[self.limit - 1], key))
        return rows[: self.limit], base64.urlsafe_b64encode(last.encode("utf-8")).decode("ascii")
