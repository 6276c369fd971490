"""Infrastructure: broker, artifact store, job events, cache invalidation, processes, disks and logs."""
