"""Rows of different lengths as one flat array with offsets, which a file can hold and a map can read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.tasks.contract import Array, Arrays


@dataclass(frozen=True)
class Ragged:
    """Row `i` is `values[offsets[i]:offsets[i + 1]]`."""

    values: Array  # (total, …)
    offsets: npt.NDArray[np.int64]  # (rows + 1,)

    @classmethod
    def of(cls, rows: Sequence[Any], dtype: Any) -> "Ragged":
        """From arrays or lists whose shapes differ in the first dimension only; there is at least one."""
        lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
        values = np.concatenate([np.asarray(row, dtype) for row in rows])
        return cls(values, offsets_of(lengths))

    @classmethod
    def from_arrays(cls, arrays: Arrays, name: str) -> "Ragged":
        """The inverse of `arrays`."""
        return cls(arrays[name], arrays[f"{name}_offsets"])

    def arrays(self, name: str) -> Arrays:
        """As two arrays under a name."""
        return {name: self.values, f"{name}_offsets": self.offsets}

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(rows,)."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Array:
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def padded(self, rows: Array) -> tuple[Array, npt.NDArray[np.int64]]:
        """Some rows as (rows, longest, …) with zeros behind each end, and their lengths (rows,)."""
        starts, lengths = self.offsets[rows], self.offsets[np.asarray(rows) + 1] - self.offsets[rows]
        steps = np.arange(lengths.max(initial=0))
        real = steps < lengths[:, None]  # (rows, longest)
        found = np.zeros((*real.shape, *self.values.shape[1:]), self.values.dtype)
        found[real] = self.values[(starts[:, None] + steps)[real]]
        return found, lengths


@dataclass(frozen=True)
class Texts:
    """Texts as UTF-8, one after the other."""

    ragged: Ragged  # of bytes

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Texts":
        """From texts without lone surrogates."""
        encoded = [text.encode() for text in texts]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        return cls(Ragged(np.frombuffer(b"".join(encoded), np.uint8), offsets_of(lengths)))

    @classmethod
    def from_arrays(cls, arrays: Arrays, name: str) -> "Texts":
        """The inverse of `arrays`."""
        return cls(Ragged.from_arrays(arrays, name))

    def arrays(self, name: str) -> Arrays:
        """As two arrays under a name."""
        return self.ragged.arrays(name)

    def __len__(self) -> int:
        return len(self.ragged)

    def __getitem__(self, row: int) -> str:
        return self.ragged[row].tobytes().decode()

    def pick(self, rows: Iterable[int]) -> list[str]:
        """Some of them."""
        return [self[int(row)] for row in rows]


def offsets_of(lengths: Array) -> npt.NDArray[np.int64]:
    """Where rows of these lengths begin, and where the last one ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
