"""Explanations of one prediction: which steps of its input it depended on, and what the gates did there."""
