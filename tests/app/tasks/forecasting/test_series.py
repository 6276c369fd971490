import io
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.forecasting.series import SeriesSet

# An array of texts drops NULs at the end of each.
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


def stored(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Through a file, with pickle forbidden on both sides."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def assert_equal(series: SeriesSet, expected: SeriesSet) -> None:
    for name, value in vars(expected).items():
        actual = getattr(series, name)
        if isinstance(value, np.ndarray):
            assert actual.shape == value.shape, name
            if value.dtype.kind != "U":
                assert actual.dtype == value.dtype, name
            assert np.array_equal(actual, value, equal_nan=value.dtype.kind == "f"), name
        else:
            assert actual == value, name


@st.composite
def sets(draw: st.DrawFn) -> SeriesSet:
    ids = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    sizes = [draw(st.integers(1, 6)) for _ in ids]
    points = sum(sizes)
    columns = st.lists(st.tuples(NAMES, st.lists(NAMES, max_size=3)), max_size=3)
    static, changing = draw(columns), draw(columns)
    floats = st.floats(width=32)
    table = [[draw(floats) for _ in changing] for _ in range(points)]
    return SeriesSet(
        ids=np.array(ids, np.str_),
        freq=draw(st.sampled_from(["1", "D", "15min", "W-SUN"])),
        starts=np.array([draw(st.integers(-(10**9), 10**9)) for _ in ids], np.int64),
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        values=np.array([draw(st.floats()) for _ in range(points)]),
        splits=np.array([draw(st.integers(0, 3)) for _ in range(points)], np.int8),
        static_names=[name for name, _ in static],
        static_levels=[levels for _, levels in static],
        static_codes=np.full((len(ids), len(static)), -1, np.int32),
        covariate_names=[name for name, _ in changing],
        covariate_levels=[levels for _, levels in changing],
        covariates=np.array(table, np.float32).reshape(points, len(changing)),
        known_ahead=[name for name, _ in changing][:1],
    )


@given(sets())
def test_arrays_stored_without_pickle_are_read_back_equal(series: SeriesSet) -> None:
    assert_equal(SeriesSet.from_arrays(stored(series.arrays())), series)


def test_nothing_but_plain_arrays_is_stored() -> None:
    series = SeriesSet(
        ids=np.array(["a", "longer", "né😀"]),
        freq="D",
        starts=np.zeros(3, np.int64),
        offsets=np.arange(4),
        values=np.ones(3),
        splits=np.zeros(3, np.int8),
    )
    assert all(array.dtype.kind in "Ufi" for array in series.arrays().values())
    back = SeriesSet.from_arrays(stored(series.arrays()))
    assert back.ids.tolist() == ["a", "longer", "né😀"]
    assert (back.static_names, back.covariate_names, back.known_ahead) == ([], [], [])


def test_names_and_levels_are_python_texts_again() -> None:
    series = SeriesSet(
        ids=np.array(["a"]),
        freq="D",
        starts=np.zeros(1, np.int64),
        offsets=np.array([0, 1]),
        values=np.ones(1),
        splits=np.zeros(1, np.int8),
        static_names=["kind"],
        static_levels=[["x", " y "]],
        static_codes=np.zeros((1, 1), np.int32),
        covariate_names=["p"],
        covariate_levels=[[]],
        covariates=np.zeros((1, 1), np.float32),
    )
    back = SeriesSet.from_arrays(stored(series.arrays()))
    assert {type(text) for text in [back.freq, *back.static_names, *back.static_levels[0]]} == {str}
    assert (back.static_levels, back.covariate_levels) == ([["x", " y "]], [[]])
