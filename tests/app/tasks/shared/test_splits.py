import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.shared.splits import NAMES, OPEN, TEST, TRAIN, VALID, code, partition


@given(st.lists(st.sampled_from([OPEN, TRAIN, VALID, TEST]), min_size=3, max_size=80), st.integers(0, 9))
def test_every_row_is_in_one_split_and_said_ones_stay(codes: list[int], seed: int) -> None:
    rows = partition(np.array(codes), seed)
    joined = np.concatenate([rows.train, rows.valid, rows.test])
    assert sorted(joined.tolist()) == list(range(len(codes)))
    for split, part in ((VALID, rows.valid), (TEST, rows.test)):
        assert {row for row, said in enumerate(codes) if said == split} <= set(part.tolist())


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({}, (80, 10, 10)),
        ({TEST: 50}, (45, 5, 50)),
        ({VALID: 50}, (45, 50, 5)),
        ({VALID: 20, TEST: 30}, (50, 20, 30)),
    ],
)
def test_a_tenth_of_what_may_be_drawn_is_held_out(said: dict[int, int], wanted: tuple[int, ...]) -> None:
    codes = np.full(100, OPEN)
    start = 0
    for split, count in said.items():
        codes[start : start + count] = split
        start += count
    rows = partition(codes, 7)
    assert (len(rows.train), len(rows.valid), len(rows.test)) == wanted


def test_a_seed_draws_the_same_and_another_seed_others() -> None:
    one, two, three = (partition(np.full(100, OPEN), seed).test.tolist() for seed in (1, 1, 2))
    assert one == two != three


def test_each_stratum_gives_its_share() -> None:
    strata = np.repeat([0, 1, 2], [600, 300, 100])
    rows = partition(np.full(1000, OPEN), 3, strata)
    np.testing.assert_allclose(np.bincount(strata[rows.test]), [60, 30, 10], atol=1)


def test_what_is_no_split_has_no_code() -> None:
    assert [code(name) for name in NAMES] == [TRAIN, VALID, TEST]
    assert code(None) == code("") == OPEN
    assert code("dev") is code(1) is code(["train"]) is None
