"""Evaluation of transcripts."""
