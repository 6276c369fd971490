"""Recurra's web process and shared domain; nothing here imports torch."""
