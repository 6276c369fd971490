"""What the service stands on: broker, storage, job events, notices, processes, disks, logs."""
