"""Covariates that are known ahead: a frame of the future beside the frame of the past."""

import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from recurra.errors import InvalidInput, Json
from recurra.frames import as_frame
from recurra.tasks.contract import Schema
from recurra.tasks.long_form import ID, TIME, VALUE, LongFrame, check_columns

Moment = tuple[str, float]  # the kind of a time stamp, and what orders those of a kind
UNKNOWN = "unknown"  # the kind of a text that is not as in ISO 8601


def future_covariates(schema: Schema) -> list[str] | None:
    """The columns that the version knows ahead; None where that cannot be read any more."""
    chosen: list[str] | None = schema.version["options"].get("future_covariates")
    if chosen is not None:
        return chosen
    known: list[str] | None = (schema.dataset or {}).get("summary", {}).get("known_ahead")
    return known


def add_future(series: dict[Any, Json], past: LongFrame, data: Any, expected: list[str] | None) -> "Future":
    """Add a frame's rows to the series that they are of; returns what is known ahead.

    Raises `InvalidInput` for rows that do not follow their series. Warns about columns that are missing.
    """
    frame, names = as_frame(data), past.names
    if past.grouped and names[ID] not in frame.names:
        raise InvalidInput(f"the frame of the future has no column {names[ID]}")
    check_columns(frame, {TIME: names[TIME]})
    _warn_of_columns(frame.names, expected)
    known = [name for name in past.covariates if name in frame.names]
    future = LongFrame(frame, names, past.grouped, known)
    stamps: dict[Any, list[Any]] = {}
    for one, ahead in future.series().items():
        if one not in series:
            raise InvalidInput(f"the future is of a series that the frame does not have: {one}")
        history, count = series[one], len(ahead[TIME])
        _check_follows(one, history, ahead[TIME])
        stamps[one] = ahead[TIME]
        for name in history.keys() - {ID}:
            history[name] += ahead[name] if name in known or name == TIME else [None] * count
    return Future(stamps, [name for name in known if expected is None or name in expected])


class Future:
    """The time stamps of the rows that are known ahead, by series."""

    def __init__(self, stamps: Mapping[Any, list[Any]], columns: Sequence[str]) -> None:
        self._stamps, self._columns = stamps, columns

    def warn_of_gaps(self, one: Any, forecast: Sequence[Any]) -> bool:
        """Warn about the first time stamp of a forecast without a row; returns whether there was one."""
        steps, stamps = _moments(forecast), _moments(self._stamps.get(one, []))
        if not self._columns or not _comparable([*steps, *stamps]):
            return False
        rows = set(stamps)
        gap = next((text for text, step in zip(forecast, steps, strict=True) if step not in rows), None)
        if gap is None:
            return False
        whose = "" if one is None else f" of series {one!r}"
        text = f"the future{whose} has no row for {gap}; the forecast does without"
        warnings.warn(f"{text} {', '.join(self._columns)} there", stacklevel=2)
        return True


def _warn_of_columns(names: Sequence[str], expected: list[str] | None) -> None:
    if expected is None:
        return
    missing = [name for name in expected if name not in names]
    if not expected:
        warnings.warn(
            "the model was trained without future_covariates: the forecast does without the future",
            stacklevel=2,
        )
    elif missing:
        text = f"the frame of the future has no column {', '.join(missing)}, which the model was trained with"
        warnings.warn(f"{text}; the forecast does without it", stacklevel=2)


def _check_follows(one: Any, history: Json, ahead: Sequence[Any]) -> None:
    """Raise `InvalidInput` about a row that is not after the last value of its series."""
    pairs = zip(history[TIME], history[VALUE], strict=True)
    observed = [stamp for stamp, value in pairs if value is not None]
    before, after = _moments(observed), _moments(ahead)
    if not before or not _comparable([*before, *after]):
        return
    last = max(before)
    for stamp, moment in zip(ahead, after, strict=True):
        if moment <= last:
            whose = "" if one is None else f" of series {one!r}"
            end = observed[before.index(last)]
            raise InvalidInput(
                f"the future{whose} has a row for {stamp}, which is not after its last value at {end}"
            )


def _moments(stamps: Sequence[Any]) -> list[Moment]:
    return [_moment(stamp) for stamp in stamps]


def _moment(stamp: Any) -> Moment:
    if isinstance(stamp, int) and not isinstance(stamp, bool):
        return "number", float(stamp)
    try:
        time = datetime.fromisoformat(stamp)
    except (TypeError, ValueError):
        return UNKNOWN, 0.0
    if time.tzinfo is None:
        return "local", time.replace(tzinfo=UTC).timestamp()
    return "zoned", time.timestamp()


def _comparable(moments: Sequence[Moment]) -> bool:
    """Whether all are numbers, or all times with a zone, or all times without one."""
    kinds = {kind for kind, _ in moments}
    return len(kinds) == 1 and UNKNOWN not in kinds
