"""Webhooks: which URLs get a project's events, and how these are signed, sent and repeated."""
