"""Evaluations of versions."""
