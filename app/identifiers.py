"""Opaque ids with a prefix that sort by the time they were made (ULID's layout, Crockford's base 32)."""

import secrets
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """`prefix_` + 48 bits of milliseconds + 80 random bits."""
    number = (int(time.time() * 1000) << 80) | secrets.randbits(80)
    digits = "".join(ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
    return f"{prefix}_{digits}"
