"""Forecasts with default options, beside those of classical methods and of other libraries."""
