"""Metrics of a language model, from the negative log-likelihood of a text."""

import math

from app.typedefs import Json

MAX_TOKEN_NATS = 700.0  # beyond which a perplexity is no finite float


def metrics_per_token(nats: float, tokens: int) -> Json:
    """Perplexity and bits per token, of a text with this many tokens and this negative log-likelihood."""
    mean = nats / tokens
    bits = round(mean / math.log(2), 6)
    return {"perplexity": round(math.exp(min(mean, MAX_TOKEN_NATS)), 6), "bits_per_token": bits}


def metrics_per_character(nats: float, characters: int) -> Json:
    """Bits per character of the text, which can be compared between units."""
    return {"bits_per_character": round(nats / math.log(2) / characters, 6)}
