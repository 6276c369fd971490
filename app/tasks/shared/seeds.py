"""How the choices of sampling are asked for, and seeds: one for each instance of a request."""

import secrets
from hashlib import blake2b
from typing import Annotated

import msgspec

Seed = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
SeedChoice = Annotated[
    Seed | None, msgspec.Meta(description="The same seed gives the same answer; none: another each time.")
]
Temperature = Annotated[
    float, msgspec.Meta(ge=0, le=5, description="How bold the choices are; 0 takes the likeliest.")
]
TopK = Annotated[
    int, msgspec.Meta(ge=0, le=1 << 20, description="Choose among so many of the likeliest; 0: among all.")
]
TopP = Annotated[
    float, msgspec.Meta(ge=0, le=1, description="Choose among the likeliest that have this share; 1: all.")
]


def derive_seed(seed: int | None, content: bytes) -> int:
    """From 0 to 2⁶³ - 1: another seed for each content of a request, the same seeds for the same request."""
    if seed is None:
        return secrets.randbits(63)
    return int.from_bytes(blake2b(b"%d " % seed + content, digest_size=8).digest(), "big") >> 1
