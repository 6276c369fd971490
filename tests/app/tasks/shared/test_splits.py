import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.shared.splits import SPLIT_NAMES, TEST, TRAIN, UNASSIGNED, VALID, partition_rows, split_code


@given(
    st.lists(st.sampled_from([UNASSIGNED, TRAIN, VALID, TEST]), min_size=3, max_size=80), st.integers(0, 9)
)
def test_every_row_is_in_one_split_and_named_ones_stay(codes: list[int], seed: int) -> None:
    rows = partition_rows(np.array(codes), seed)
    joined = np.concatenate([rows.train, rows.valid, rows.test])
    assert sorted(joined.tolist()) == list(range(len(codes)))
    for split, part in ((VALID, rows.valid), (TEST, rows.test)):
        assert {row for row, code in enumerate(codes) if code == split} <= set(part.tolist())


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({}, (80, 10, 10)),
        ({TEST: 50}, (45, 5, 50)),
        ({VALID: 50}, (45, 50, 5)),
        ({VALID: 20, TEST: 30}, (50, 20, 30)),
    ],
)
def test_a_tenth_of_the_training_rows_is_held_out(named: dict[int, int], expected: tuple[int, ...]) -> None:
    codes = np.full(100, UNASSIGNED)
    start = 0
    for split, count in named.items():
        codes[start : start + count] = split
        start += count
    rows = partition_rows(codes, 7)
    assert (len(rows.train), len(rows.valid), len(rows.test)) == expected


def test_the_same_seed_samples_the_same_rows() -> None:
    one, two, three = (partition_rows(np.full(100, UNASSIGNED), seed).test.tolist() for seed in (1, 1, 2))
    assert one == two != three


def test_each_stratum_gives_its_share() -> None:
    strata = np.repeat([0, 1, 2], [600, 300, 100])
    rows = partition_rows(np.full(1000, UNASSIGNED), 3, strata)
    np.testing.assert_allclose(np.bincount(strata[rows.test]), [60, 30, 10], atol=1)


def test_what_is_no_split_has_no_code() -> None:
    assert [split_code(name) for name in SPLIT_NAMES] == [TRAIN, VALID, TEST]
    assert {split_code(value) for value in (None, "", " ", "NA", "n/a", float("nan"))} == {UNASSIGNED}
    assert split_code("dev") is split_code(1) is split_code(["train"]) is None
