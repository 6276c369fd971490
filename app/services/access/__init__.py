"""Who may do what: keys, their callers and limits, and the audit of what they changed."""
