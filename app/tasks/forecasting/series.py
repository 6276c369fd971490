"""A data set of time series, each on a regular grid, as flat arrays with offsets."""

from dataclasses import dataclass, field

import numpy as np

from app.arrays import Array
from app.tasks.shared.splits import SPLIT_NAMES

NO_MARK, TRAIN_MARK, VALID_MARK, TEST_MARK = range(4)  # values of `SeriesSet.splits`, as stored
SPLIT_MARKS = dict(zip(SPLIT_NAMES, (TRAIN_MARK, VALID_MARK, TEST_MARK), strict=True))


@dataclass(frozen=True)
class SeriesSet:
    """`n` series with `N` grid points altogether; series `i` owns the points `offsets[i]:offsets[i + 1]`."""

    ids: Array  # (n,) str
    freq: str  # canonical alias of frequency.Frequency, "1" for integer time
    starts: Array  # (n,) int64, ordinal of the first point in that frequency
    offsets: Array  # (n + 1,) int64
    values: Array  # (N,) float64, NaN = missing
    splits: Array  # (N,) int8 marks, `NO_MARK` where the file names no split
    static_names: list[str] = field(default_factory=list)
    static_levels: list[list[str]] = field(default_factory=list)  # the categories of each static column
    static_codes: Array = field(default_factory=lambda: np.zeros((0, 0), np.int32))  # (n, static), -1 = none
    covariate_names: list[str] = field(default_factory=list)
    covariate_levels: list[list[str]] = field(default_factory=list)  # [] for a numeric covariate
    covariates: Array = field(
        default_factory=lambda: np.zeros((0, 0), np.float32)
    )  # (N, covariates), NaN = missing
    known_ahead: list[str] = field(default_factory=list)  # covariates that continue beyond the last value
    # Distance of each series from its grid points (`Frequency.phase`), (n,); (0,) if all lie on them.
    phases: Array = field(default_factory=lambda: np.zeros(0, np.int64))

    def arrays(self) -> dict[str, Array]:
        """Plain arrays for an `.npz` file. None is an object array, so nothing is pickled."""
        return {
            "ids": self.ids.astype(np.str_),
            "freq": np.array(self.freq),
            "starts": self.starts,
            "offsets": self.offsets,
            "values": self.values,
            "splits": self.splits,
            "static_names": np.array(self.static_names, np.str_),
            "static_codes": self.static_codes,
            **{f"static_levels_{k}": np.array(v, np.str_) for k, v in enumerate(self.static_levels)},
            "covariate_names": np.array(self.covariate_names, np.str_),
            "covariates": self.covariates,
            **{f"covariate_levels_{k}": np.array(v, np.str_) for k, v in enumerate(self.covariate_levels)},
            "known_ahead": np.array(self.known_ahead, np.str_),
            "phases": self.phases,
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> "SeriesSet":
        """Rebuild the data set from what `arrays` returned; older files have no phases."""
        static_names = [str(v) for v in arrays["static_names"]]
        covariate_names = [str(v) for v in arrays["covariate_names"]]
        return cls(
            ids=arrays["ids"],
            freq=str(arrays["freq"]),
            starts=arrays["starts"],
            offsets=arrays["offsets"],
            values=arrays["values"],
            splits=arrays["splits"],
            static_names=static_names,
            static_levels=[[str(v) for v in arrays[f"static_levels_{k}"]] for k in range(len(static_names))],
            static_codes=arrays["static_codes"],
            covariate_names=covariate_names,
            covariate_levels=[
                [str(v) for v in arrays[f"covariate_levels_{k}"]] for k in range(len(covariate_names))
            ],
            covariates=arrays["covariates"],
            known_ahead=[str(v) for v in arrays["known_ahead"]],
            phases=arrays.get("phases", np.zeros(0, np.int64)),
        )
