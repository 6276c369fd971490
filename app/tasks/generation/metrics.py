"""How well a text was predicted, from its negative log-likelihood."""

import math

from app.typedefs import Json

HIGHEST = 700.0  # nats a token, beyond which a perplexity is no float


def per_token(nats: float, targets: int) -> Json:
    """Perplexity, and bits, of each of so many tokens."""
    mean = nats / targets
    bits = round(mean / math.log(2), 6)
    return {"perplexity": round(math.exp(min(mean, HIGHEST)), 6), "bits_per_token": bits}


def per_character(nats: float, characters: int) -> Json:
    """Bits of each character of the text, which can be compared between units."""
    return {"bits_per_character": round(nats / math.log(2) / characters, 6)}
