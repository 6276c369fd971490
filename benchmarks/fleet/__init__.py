"""How many workers and jobs one database carries: simulated workers on the real tables of PostgreSQL."""
