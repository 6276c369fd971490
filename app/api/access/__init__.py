"""Who may use a route: scopes declared at the routes, keys of requests, and the audit of what they change."""
