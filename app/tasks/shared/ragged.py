"""Rows of different lengths as one flat array with offsets, which can be stored and memory-mapped."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.arrays import Array, Arrays


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths; row `i` is `values[offsets[i]:offsets[i + 1]]`."""

    values: Array  # (total, …)
    offsets: npt.NDArray[np.int64]  # (rows + 1,)

    @classmethod
    def of(cls, rows: Sequence[Any], dtype: Any) -> "Ragged":
        """From at least one array or list; the shapes may differ in the first dimension only."""
        lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
        values = np.concatenate([np.asarray(row, dtype) for row in rows])
        return cls(values, offsets_of(lengths))

    @classmethod
    def concatenate(cls, parts: Sequence["Ragged"]) -> "Ragged":
        """The rows of all parts in order; there is at least one part."""
        lengths = np.concatenate([part.lengths for part in parts])
        return cls(np.concatenate([part.values for part in parts]), offsets_of(lengths))

    @classmethod
    def from_arrays(cls, arrays: Arrays, name: str) -> "Ragged":
        """The inverse of `arrays`."""
        return cls(arrays[name], arrays[f"{name}_offsets"])

    def arrays(self, name: str) -> Arrays:
        """The rows as two arrays, `name` and `name_offsets`."""
        return {name: self.values, f"{name}_offsets": self.offsets}

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The length of each row, (rows,)."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Array:
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def padded(self, rows: Array) -> tuple[Array, npt.NDArray[np.int64]]:
        """Some rows as (rows, longest, …), padded with zeros, and their lengths (rows,)."""
        starts, lengths = self.offsets[rows], self.offsets[np.asarray(rows) + 1] - self.offsets[rows]
        steps = np.arange(lengths.max(initial=0))
        is_real = steps < lengths[:, None]  # (rows, longest)
        padded = np.zeros((*is_real.shape, *self.values.shape[1:]), self.values.dtype)
        padded[is_real] = self.values[(starts[:, None] + steps)[is_real]]
        return padded, lengths


@dataclass(frozen=True)
class Texts:
    """Texts as UTF-8 bytes, one after the other."""

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
        """The rows as two arrays, `name` and `name_offsets`."""
        return self.ragged.arrays(name)

    def __len__(self) -> int:
        return len(self.ragged)

    def __getitem__(self, row: int) -> str:
        return self.ragged[row].tobytes().decode()

    def pick(self, rows: Iterable[int]) -> list[str]:
        """The texts of some rows."""
        return [self[int(row)] for row in rows]


def offsets_of(lengths: Array) -> npt.NDArray[np.int64]:
    """Where each row of these lengths begins, and where the last one ends, (rows + 1,)."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
