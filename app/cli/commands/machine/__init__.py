"""Commands on an installation, on its own machine: they open its database and its store."""
