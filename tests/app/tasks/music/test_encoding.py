"""Streams of events: one view for each pass, every key, and held-out windows that lose nothing."""

import numpy as np
import pytest

from app.media.limits import MediaLimits
from app.media.midi import decode_midi
from app.tasks.contract import END
from app.tasks.music.codings.pieces import Coding, Piece
from app.tasks.music.codings.selection import fit_coding
from app.tasks.music.encoding import HeldOutWindows, TrainingStream, Variation, joined
from app.tasks.music.reading import piece_of
from tests.support.factories import music
from workers.training.batches import TrainingBatches


def pieces(count: int, chords: int = 16) -> list[Piece]:
    return [piece_of(decode_midi(music.chorale(seed, chords), MediaLimits())) for seed in range(count)]


def stream(steps: int = 20, *, transpose: bool = True, name: str | None = None) -> TrainingStream:
    made = pieces(4)
    return TrainingStream(fit_coding(made, name, None), made, Variation(transpose, 0.1), steps)


def events_of(split: TrainingStream, rng: np.random.Generator | None) -> list[int]:
    """All events of one view, part by part."""
    parts = []
    for row in range(len(split.lengths)):
        batch = split.batch(np.array([row]), rng)
        parts += batch.targets[0, : batch.lengths[0]].tolist()
    return parts


def test_the_canonical_stream_has_every_piece_and_each_event_predicts_the_next() -> None:
    split = stream()
    batch = split.batch(np.array([0]), None)
    np.testing.assert_array_equal(batch.inputs[0, 1:, 0], batch.targets[0, :-1])
    assert batch.inputs[0, 0, 0] == END
    assert events_of(split, None).count(END) == 4


def test_all_parts_of_a_pass_are_of_one_view_and_passes_differ() -> None:
    split = stream()
    first = events_of(split, np.random.default_rng([7, 1]))
    assert first == events_of(split, np.random.default_rng([7, 1]))
    used = np.random.default_rng([7, 1])
    used.random(100)  # the view depends on the seed, not on the state
    assert first == events_of(split, used)
    assert first != events_of(split, np.random.default_rng([7, 2]))
    assert first.count(END) == 4
    assert len(first) == len(split.canonical) - 1


def test_a_pass_that_is_continued_has_the_same_batches() -> None:
    whole = [batch.inputs for batch in TrainingBatches(stream(), 2, 3, 1)]
    interrupted = TrainingBatches(stream(), 2, 3, 1)
    next(iter(interrupted))
    resumed = TrainingBatches(stream(), 2, 3, 1)
    resumed.restore(interrupted.snapshot())
    for before, after in zip(whole[1:], (batch.inputs for batch in resumed), strict=True):
        np.testing.assert_array_equal(before, after)


def test_each_piece_of_a_view_is_in_another_key_as_a_whole() -> None:
    made = pieces(1)
    coding = fit_coding(made, None, None)
    split = TrainingStream(coding, made, Variation(transpose=True, stretch=0.0), 1000)
    keys = {
        shift: joined([coding.transposed(shift)[coding.encode(made[0])]])[1:].tolist()
        for shift in range(-6, 6)
    }
    seen = set()
    for epoch in range(60):
        view = events_of(split, np.random.default_rng([0, epoch]))
        seen |= {shift for shift, events in keys.items() if events == view}
    assert seen == set(range(-6, 6))


def test_without_transposition_only_the_order_changes() -> None:
    split = stream(transpose=False)
    view = events_of(split, np.random.default_rng(1))
    assert sorted(view) == sorted(split.canonical[1:].tolist())


def test_a_performance_is_stretched_but_the_stream_stays_as_long() -> None:
    split = stream(name="performance")
    view = events_of(split, np.random.default_rng(5))
    assert len(view) == len(split.canonical) - 1
    assert view != split.canonical[1:].tolist()


@pytest.mark.parametrize("chords", [3, 200, 400])
def test_windows_score_every_event_once(chords: int) -> None:
    made = pieces(2, chords)
    coding: Coding = fit_coding(made, None, None)
    windows = HeldOutWindows(coding, made)
    rows = np.arange(len(windows.lengths))
    batch = windows.batch(rows, None)
    outputs = [row[:length] for row, length in zip(batch.targets, batch.lengths, strict=True)]
    expected = np.concatenate([np.append(events, END) for events in windows.events])
    np.testing.assert_array_equal(windows.scored(outputs), expected)
    assert batch.weights.sum() == len(expected)
    np.testing.assert_array_equal(batch.lengths, windows.lengths)
