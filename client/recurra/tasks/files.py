"""A task of which only its name is known: its data are files, its instances and answers JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recurra.errors import InvalidInput, Json
from recurra.tasks.contract import PredictionInputs, PreparedFile, Schema, as_list, finish_list, single


@dataclass(frozen=True)
class FileTask:
    """The data of any task."""

    name: str

    @property
    def roles(self) -> Mapping[str, str]:
        """None are known."""
        return {}

    @property
    def parse(self) -> Callable[[Json], Any]:
        """What leaves a prediction as it is."""
        return dict

    def write(self, data: Any, answers: Any, columns: Mapping[str, str], folder: Path) -> PreparedFile:
        """Refuse what is not a file."""
        del answers, columns, folder
        raise InvalidInput(
            f"data of the task {self.name} are passed as a file's path, not {type(data).__name__}"
        )

    def options(self, options: Json) -> Json:
        """The same options."""
        return options

    def parameters(self, parameters: Json, schema: Schema) -> Json:
        """The same parameters."""
        del schema
        return parameters

    def inputs(
        self, data: Any, columns: Mapping[str, str], schema: Schema, parameters: Json
    ) -> PredictionInputs:
        """Instances as JSON."""
        del columns, schema, parameters
        return PredictionInputs(as_list(data), finish_list(dict, alone=single(data)))
