"""Encoding many instances, with errors that say which of them cannot be encoded."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from app.errors import Invalid
from app.tasks.contract import Example

Instance = TypeVar("Instance")


class InvalidInstance(Invalid):
    """One of several instances cannot be encoded; pointers are below the instance, or in the parameters."""

    def __init__(self, index: int, error: Invalid) -> None:
        super().__init__(error.message, error.problems)
        self.index = index


def encode_each(instances: Iterable[Instance], encode: Callable[[Instance], Example]) -> list[Example]:
    """Encode one instance after the other; raises `InvalidInstance` about the first that cannot be."""
    examples = []
    for index, instance in enumerate(instances):
        try:
            examples.append(encode(instance))
        except Invalid as error:
            raise InvalidInstance(index, error) from None
    return examples


def encode_together(
    instances: Iterable[Instance], encode: Callable[[Sequence[Instance]], list[Example]]
) -> list[Example]:
    """Encode all instances at once; raises `InvalidInstance` about the first that cannot be alone.

    `encode` raises `Invalid` as for one instance, whichever of them it is.
    """
    together = list(instances)
    try:
        return encode(together)
    except Invalid:
        return encode_each(together, lambda instance: encode([instance])[0])
