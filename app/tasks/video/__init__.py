"""Video classification: one label for a clip."""

from app.tasks.video.task import TASK

__all__ = ["TASK"]
