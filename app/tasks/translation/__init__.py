"""Translation: sentences of one language into another."""

from app.tasks.translation.task import TASK

__all__ = ["TASK"]
