"""What is asked: versions made for the benchmark, requests for them, and the answers that must come."""
