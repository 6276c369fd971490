"""Cleanup of files and rows nobody needs, and the checks of `recurra doctor`."""
