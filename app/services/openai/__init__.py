"""The OpenAI-compatible completions."""
