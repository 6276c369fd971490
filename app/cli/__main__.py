"""`python -m app.cli`: the command line, for processes that start one of its commands."""

from app.cli import main

main()
