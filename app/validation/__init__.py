"""What is wrong with a request, in words and places that its sender knows."""
