"""Music: language models of notes that compose, or continue a beginning."""

from app.tasks.music.task import TASK

__all__ = ["TASK"]
