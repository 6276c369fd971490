"""A thousand jobs at once while a hundred clients poll: what a submit takes, and who is served first."""
