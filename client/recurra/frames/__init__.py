"""Data frames of pandas and polars behind one interface; neither is imported before its user has done so."""

from recurra.frames.detection import as_frame, is_frame
from recurra.frames.frame import Frame

__all__ = ["Frame", "as_frame", "is_frame"]
