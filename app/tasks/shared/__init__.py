"""What at least two tasks use: ragged arrays, splits, tokenizers, table cells, time stamps."""
