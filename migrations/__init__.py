"""The database's history; `app.migrate` runs it."""
