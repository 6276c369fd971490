"""Seeds of sampling: one for each instance of a request."""

import secrets
from hashlib import blake2b
from typing import Annotated

import msgspec

Seed = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


def derive_seed(seed: int | None, content: bytes) -> int:
    """From 0 to 2⁶³ - 1: another seed for each content of a request, the same seeds for the same request."""
    if seed is None:
        return secrets.randbits(63)
    return int.from_bytes(blake2b(b"%d " % seed + content, digest_size=8).digest(), "big") >> 1
