"""Uploads: received from a form, read in a child process, stored as data sets."""
