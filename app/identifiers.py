"""Opaque ids with a prefix, which sort by the time of their creation (a ULID in Crockford's base 32)."""

import secrets
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """A new id: `prefix_`, then 48 bits of milliseconds and 80 random bits."""
    number = (int(time.time() * 1000) << 80) | secrets.randbits(80)
    digits = "".join(ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
    return f"{prefix}_{digits}"
