"""Which library a data frame is of, without importing one."""

from importlib import import_module
from typing import Any

from recurra.errors import InvalidInput
from recurra.frames.frame import Frame

ADAPTERS = {"pandas": "recurra.frames.of_pandas", "polars": "recurra.frames.of_polars"}
FRAME_CLASSES = frozenset({"DataFrame", "LazyFrame"})


def is_frame(data: object) -> bool:
    """Whether it is a data frame of pandas or polars, or of a class derived from one."""
    return _library(data) is not None


def as_frame(data: Any) -> Frame:
    """The adapter of a data frame; raises `InvalidInput` for anything else."""
    library = _library(data)
    if library is None:
        raise InvalidInput(f"{type(data).__name__} is no data frame of pandas or polars")
    frame: Frame = import_module(ADAPTERS[library]).adapt(data)
    return frame


def _library(data: object) -> str | None:
    """The name of the library; an object of it exists, so it is imported already."""
    for kind in type(data).__mro__:
        library = kind.__module__.partition(".")[0]
        if kind.__name__ in FRAME_CLASSES and library in ADAPTERS:
            return library
    return None
