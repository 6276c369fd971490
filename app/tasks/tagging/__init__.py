"""Tagging: one tag for each word; entities or parts of speech."""

from app.tasks.tagging.task import TASK

__all__ = ["TASK"]
