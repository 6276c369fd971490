"""The database's history; `app.database.migrate` runs it."""
