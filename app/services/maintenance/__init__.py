"""Cleanup of what nobody needs, and the checks of `recurra doctor`."""
