"""What a network remembers: gradients by lag, gates, time constants, and a verdict on them."""
