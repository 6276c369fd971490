"""One instance through a task, whose contract takes many."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from app.tasks.contract import Example, Task
from app.tasks.encode_instances import encode_each
from app.typedefs import Json


def encode_one(task: Task, state: Any, instance: Any, parameters: Any) -> Example:
    """The network's input for one instance."""
    (example,) = task.encode(state, [instance], parameters)
    return example


def decode_one(task: Task, state: Any, example: Example, outputs: Any, parameters: Any) -> Json:
    """The prediction for one instance."""
    (prediction,) = task.decode(state, [example], [outputs], parameters)
    return prediction


class OneByOne:
    """A played task that encodes and decodes one instance after the other."""

    encode_instance: Callable[[Any, Any, Any], Example]
    decode_example: Callable[[Any, Example, Any, Any], Any]

    def encode(self, state: Any, instances: Iterable[Any], parameters: Any) -> list[Example]:
        return encode_each(instances, lambda instance: self.encode_instance(state, instance, parameters))

    def decode(
        self, state: Any, examples: Sequence[Example], outputs: Sequence[Any], parameters: Any
    ) -> list[Any]:
        return [
            self.decode_example(state, example, row, parameters)
            for example, row in zip(examples, outputs, strict=True)
        ]
