"""A panel of many series through the service."""
