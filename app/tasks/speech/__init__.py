"""Speech recognition: the words of a recording."""

from app.tasks.speech.task import TASK

__all__ = ["TASK"]
