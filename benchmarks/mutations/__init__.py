"""Deliberate faults, each of which the tests of `make test` have to notice."""
