"""The same network behind Recurra and behind other servers: requests per second, latency, idle cost."""
