"""Classification: one label for a text or a sequence of sensor readings."""

from app.tasks.classification.task import TASK

__all__ = ["TASK"]
