"""The database: engine and sessions, tables, migrations, and the two servers it runs on."""
