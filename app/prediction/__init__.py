"""Requests for predictions: from bytes to instances, and to the bytes of an answer, in any process."""
