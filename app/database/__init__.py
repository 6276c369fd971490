"""The database: engine and sessions, tables, and the two servers it runs on."""
