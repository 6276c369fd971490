"""Beam search: against all sequences, by its penalties, and whatever else is decoded beside it."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from app.tasks.contract import BEGIN, END, PADDING, DecodedTokens
from app.typedefs import Json
from tests.support.fakes.steppers import Interpreter, column
from workers.decoding.beam_search import Beam
from workers.decoding.scheduler import decode_all
from workers.decoding.sequence import Decoder

SOURCES = [column(4, 5, 6), column(6, 6), column(4, 6, 5, 5, 4)]
WORDS = [1, 4, 5, 6]  # what may be written, `UNKNOWN` included


def search(**fields: Any) -> Json:
    return {"max_tokens": 4, "beam_size": 3, "length_penalty": 0.0, "coverage_penalty": 0.0, **fields}


def scored(network: Interpreter, source: Any, path: tuple[int, ...]) -> tuple[float, Any]:
    """Log P of a sequence that ends with `END`, and what was looked at (steps, source)."""
    _, carried = network.prefill(source[None], np.array([len(source)]), network.initial_state(1))
    total, looked = 0.0, []
    for before, token in zip((BEGIN, *path), (*path, END), strict=True):
        scores, carried, attention = network.step(np.array([before]), carried)
        total += float(scores[0, token])
        assert attention is not None
        looked.append(attention[0])
    return total, np.array(looked)


def worth(log: float, looked: Any, alpha: float, beta: float) -> float:
    penalty = ((5 + len(looked)) / 6) ** alpha
    return float(log / penalty + beta * np.log(np.minimum(looked.sum(axis=0), 1.0)).sum())


@pytest.mark.parametrize("alpha", [0.0, 0.8, 2.0])
@pytest.mark.parametrize("beta", [0.0, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_a_beam_wide_enough_finds_the_best_of_all_sequences(seed: int, alpha: float, beta: float) -> None:
    network = Interpreter(seed=seed)
    how = search(beam_size=600, length_penalty=alpha, coverage_penalty=beta, attention=True)
    found = decode_all(Decoder(network), SOURCES, [how] * len(SOURCES))
    for source, one in zip(SOURCES, found, strict=True):
        paths = [path for length in range(4) for path in product(WORDS, repeat=length)]
        known = {path: scored(network, source, path) for path in paths}
        worths = {path: worth(*known[path], alpha, beta) for path in paths}
        best = max(worths, key=lambda path: worths[path])
        assert one.note["finish_reason"] == "stop"
        assert one.note["score"] == pytest.approx(worths[best], abs=1e-4)
        assert tuple(one.tokens.tolist()) == best
        np.testing.assert_allclose(
            np.array(one.note["attention"]).reshape(len(best), len(source)), known[best][1][:-1], atol=1e-6
        )


def test_a_beam_of_one_is_greedy() -> None:
    network = Interpreter(seed=3)
    for source in SOURCES:
        (found,) = decode_all(Decoder(network), [source], [search(beam_size=1, max_tokens=9)])
        _, carried = network.prefill(source[None], np.array([len(source)]), network.initial_state(1))
        token, path = BEGIN, list[int]()
        while len(path) < 9:
            scores, carried, _ = network.step(np.array([token]), carried)
            scores[0, [PADDING, BEGIN]] = -np.inf
            token = int(scores[0].argmax())
            if token == END:
                break
            path.append(token)
        assert found.tokens.tolist() == path


@pytest.mark.parametrize("width", [2, 3, 5])
def test_a_wider_beam_is_no_worse(width: int) -> None:
    network = Interpreter(seed=1, vocabulary=12)
    sources = [column(*np.random.default_rng(seed).integers(4, 12, 5).tolist()) for seed in range(12)]

    def total(size: int) -> float:
        found = decode_all(Decoder(network), sources, [search(beam_size=size, max_tokens=12)] * 12)
        return sum(float(one.note["score"]) for one in found)

    assert total(width) >= total(1) - 1e-6


def test_beams_side_by_side_find_what_each_finds_alone() -> None:
    network = Interpreter(seed=2, vocabulary=15)
    rng = np.random.default_rng(0)
    sources = [column(*rng.integers(4, 15, int(size)).tolist()) for size in rng.integers(1, 9, 25)]
    searches = [
        search(
            beam_size=int(rng.integers(1, 6)),
            max_tokens=int(rng.integers(1, 15)),
            length_penalty=0.8,
            coverage_penalty=0.2,
            attention=bool(rng.integers(2)),
        )
        for _ in sources
    ]
    together = decode_all(Decoder(network), sources, searches, rows=20)
    assert max(network.steps) > 8
    for source, how, one in zip(sources, searches, together, strict=True):
        (alone,) = decode_all(Decoder(network), [source], [how])
        assert alone.tokens.tolist() == one.tokens.tolist()
        assert alone.note == one.note


def advanced(how: Json, *steps: list[list[float]], attention: Any = None) -> Beam:
    """A beam over a vocabulary of six after rows of probabilities."""
    beam = Beam(how, 2)
    for rows in steps:
        step(beam, rows, attention)
    return beam


def step(beam: Beam, rows: list[list[float]], attention: Any = None) -> None:
    """As many of the rows as the beam has."""
    looked = np.full((beam.width, 2), 0.5) if attention is None else attention[: beam.width]
    with np.errstate(divide="ignore"):
        beam.advance(np.log(np.array(rows[: beam.width])), looked)


def ended(beam: Beam) -> DecodedTokens:
    assert beam.result is not None
    assert (beam.feed, beam.parents) == ([], [])
    return beam.result


FIRST = [[0, 0, 0, 0.0, 0.6, 0.4]]


def test_it_grows_and_names_where_its_rows_come_from() -> None:
    beam = advanced(search(beam_size=2), FIRST)
    assert (beam.feed, beam.parents, beam.width) == ([4, 5], [0, 0], 2)
    step(beam, [[0, 0, 0, 0.1, 0.5, 0.4]] * 2)
    assert (beam.feed, beam.parents) == ([4, 5], [0, 0])  # 0.30 and 0.24, before 0.20 and 0.16


def test_it_stops_when_nothing_open_can_win() -> None:
    beam = advanced(search(beam_size=2, max_tokens=50), FIRST, [[0, 0, 0, 0.9, 0.05, 0.05]] * 2)
    found = ended(beam)
    assert found.tokens.tolist() == [4]
    assert found.note["score"] == pytest.approx(np.log(0.54))
    longer = search(beam_size=2, max_tokens=50, length_penalty=2.0)
    assert advanced(longer, FIRST, [[0, 0, 0, 0.9, 0.05, 0.05]] * 2).result is None  # a long one could win


def test_what_ends_first_may_lose() -> None:
    steps = [[0, 0, 0, 0.3, 0.7, 0.0]] * 2, [[0, 0, 0, 0.99, 0.01, 0.0]] * 2
    found = ended(advanced(search(beam_size=2, max_tokens=9), [[0, 0, 0, 0.1, 0.9, 0.0]], *steps))
    assert found.tokens.tolist() == [4, 4]


def test_what_does_not_end_in_time_is_told_as_such() -> None:
    never = [[0, 0, 0, 0.0, 0.6, 0.4]]
    found = ended(advanced(search(beam_size=2, max_tokens=3), never, never * 2, never * 2))
    assert found.note["finish_reason"] == "length"
    assert found.tokens.tolist() == [4, 4, 4]
    assert found.note["score"] == pytest.approx(3 * np.log(0.6))
    assert "attention" not in found.note


def test_the_end_counts_only_within_the_beam() -> None:
    """Else a weak network would say nothing at all: the empty sequence has few chances to be unlikely."""
    first = [[0, 0, 0, 0.2, 0.5, 0.3]]
    on = [[0, 0, 0, 0.02, 0.49, 0.49]]
    narrow = ended(advanced(search(beam_size=2, max_tokens=3), first, on * 2, on * 2))
    wide = ended(advanced(search(beam_size=3, max_tokens=3), first, on * 2, on * 3))
    assert (narrow.tokens.tolist(), wide.tokens.tolist()) == ([4, 4, 4], [])


def test_a_length_penalty_favours_the_longer() -> None:
    steps = FIRST, [[0, 0, 0, 0.5, 0.5, 0.0]] * 2, [[0, 0, 0, 0.9, 0.1, 0.0]] * 2, [[0, 0, 0, 1.0, 0, 0]] * 2
    how = search(beam_size=2, max_tokens=4)
    beams = [Beam({**how, "length_penalty": alpha}, 2) for alpha in (0.0, 2.0)]
    for beam in beams:
        for rows in steps:
            if beam.result is None:
                step(beam, rows)
    assert [len(ended(beam).tokens) for beam in beams] == [1, 2]


def test_a_network_that_gives_nothing_but_nonsense_ends_it() -> None:
    beam = Beam(search(beam_size=2), 2)
    beam.advance(np.full((1, 6), np.nan), np.full((1, 2), 0.5))
    assert len(ended(beam).tokens) == 0


def test_attention_is_cut_to_the_source() -> None:
    seen = np.array([[0.7, 0.3, 0.0], [0.1, 0.9, 0.0]])
    found = ended(
        advanced(
            search(beam_size=1, attention=True),
            FIRST,
            [[0, 0, 0, 0.1, 0.9, 0]],
            [[0, 0, 0, 1.0, 0, 0]],
            attention=seen,
        )
    )
    assert found.note["attention"] == [[0.7, 0.3], [0.7, 0.3]]
