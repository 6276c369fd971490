"""Jobs: submission, queries, leases, control, the dispatcher, and what jobs keep in the artifact store."""
