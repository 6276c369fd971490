"""Jobs: submission, leases, control, and what brings stuck ones back."""
