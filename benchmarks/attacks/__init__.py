"""What ordinary clients notice while somebody attacks the service they use."""
