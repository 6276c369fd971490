"""Histories of many series at once, normalized so that one network reads all of them."""
