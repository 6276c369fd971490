"""Which kinds of values a request's parameter takes."""

from collections.abc import Sequence

import msgspec.inspect


def value_kinds(described: msgspec.inspect.Type) -> Sequence[msgspec.inspect.Type]:
    """The kinds of a described type but null, without what only documents them."""
    if isinstance(described, msgspec.inspect.Metadata):
        return value_kinds(described.type)
    if isinstance(described, msgspec.inspect.UnionType):
        return [kind for one in described.types for kind in value_kinds(one)]
    return [] if isinstance(described, msgspec.inspect.NoneType) else [described]
