"""The examples of a data set as instances."""

import numpy as np

from app.arrays import Arrays
from app.tasks.classification.options import ClassificationInstance
from app.tasks.classification.reading import LABEL, VALUES
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.shared.text_checks import TEXT


class ClassificationInstances:
    """The examples of a data set as instances, each made when it is requested."""

    def __init__(self, arrays: Arrays) -> None:
        self._texts = Texts.from_arrays(arrays, TEXT) if TEXT in arrays else None
        self._readings = Ragged.from_arrays(arrays, VALUES) if VALUES in arrays else None
        self._count = len(arrays[LABEL])

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> ClassificationInstance:
        if self._texts is not None:
            return ClassificationInstance(text=self._texts[index])
        if self._readings is None:
            raise IndexError(index)
        return ClassificationInstance(values=self._readings[index].astype(np.float64).tolist())
