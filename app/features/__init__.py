"""Numeric building blocks of the tasks: numpy only, no framework, no I/O but `.npz`."""
