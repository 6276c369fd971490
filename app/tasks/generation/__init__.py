"""Generation: language models that continue a prompt."""

from app.tasks.generation.task import TASK

__all__ = ["TASK"]
