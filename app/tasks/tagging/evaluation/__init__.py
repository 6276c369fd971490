"""Evaluation of tags."""
