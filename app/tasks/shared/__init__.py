"""Code that at least two tasks use: ragged arrays, splits, tokenizers, table cells, timestamps."""
