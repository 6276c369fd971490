"""Lists of OpenAI's interface: newest first, continued after the id of the last item."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

from app.typedefs import Json

Row = TypeVar("Row")


@dataclass(frozen=True)
class OpenaiPaging:
    """The requested page: up to `limit` items after the one with the id `after`."""

    limit: int
    after: str | None

    def apply(self, query: Select[Row], key: InstrumentedAttribute[Any]) -> Select[Row]:
        """Restrict a query to the page and one row more, in descending order of `key`."""
        if self.after is not None:
            query = query.where(key < self.after)
        return query.order_by(key.desc()).limit(self.limit + 1)

    def page(self, rows: Sequence[Any], represent: Callable[[Any], Json]) -> Json:
        """The page of rows of which there is one more than `limit` if there are more."""
        data = [represent(row) for row in rows[: self.limit]]
        return {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": len(rows) > self.limit,
        }
