"""Uploaded files to regular time series: long tables and JSON Lines."""
