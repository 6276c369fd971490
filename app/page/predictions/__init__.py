"""Predictions as people see them: each is shown by its shape, whatever task it is of."""
