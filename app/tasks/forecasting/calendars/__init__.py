"""Calendars of regular time: days that stand for a month, and the aliases that pandas has for them."""
