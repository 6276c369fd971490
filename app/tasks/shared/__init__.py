"""Code that two tasks, or a task and the services, use: ragged arrays, splits, tokenizers, timestamps."""
