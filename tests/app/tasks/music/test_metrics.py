"""Metrics by hand, keys of known scales, and the counting model."""

import numpy as np
import pytest

from app.media.limits import MediaLimits
from app.media.midi import decode_midi
from app.tasks.contract import END
from app.tasks.music.baseline import ngram_nats
from app.tasks.music.codings.pieces import Note
from app.tasks.music.codings.selection import fit_coding
from app.tasks.music.encoding import joined
from app.tasks.music.metrics import describe_notes, find_key, likelihood_metrics
from app.tasks.music.reading import piece_of
from tests.support.factories import music


def notes(*pitches: int) -> list[Note]:
    return [Note(step, step + 1, pitch, 80, 0) for step, pitch in enumerate(pitches)]


def test_nats_by_hand() -> None:
    found = likelihood_metrics(np.array([1.0, 2.0, 3.0]), 2)
    assert found == {"nats_per_event": 2.0, "nats_per_step": 3.0}


def test_keys_of_scales() -> None:
    assert find_key(notes(60, 62, 64, 65, 67, 69, 71, 72, 67, 60)) == ("C major", 1.0)
    assert find_key(notes(57, 59, 60, 62, 64, 65, 68, 69, 64, 57)) == ("A minor", 1.0)
    key, share = find_key(notes(67, 71, 74, 79, 67, 68))
    assert (key, share) == ("G major", round(5 / 6, 4))
    assert find_key([]) == (None, None)


def test_statistics_of_a_piece() -> None:
    drum = Note(0, 1, 128 + 36, 80, 0)
    found = describe_notes([*notes(60, 64, 67), drum], 10, 1)
    assert (found["notes"], found["valid_events"]) == (4, 0.9)
    assert (found["lowest_pitch"], found["highest_pitch"]) == (60, 67)
    assert describe_notes([drum], 1, 0)["lowest_pitch"] is None


def test_the_baseline_knows_a_piece_in_another_key() -> None:
    pieces = [piece_of(decode_midi(music.chorale(seed, 40), MediaLimits())) for seed in range(6)]
    coding = fit_coding(pieces, None, None)
    events = [coding.encode(piece) for piece in pieces]
    train, moved = joined(events[:-1]), coding.transposed(3)[events[0]]
    in_all, as_it_is = (ngram_nats(coding, train, shifts, [moved]) for shifts in (list(range(-6, 6)), [0]))
    assert len(in_all) == len(moved) + 1
    assert in_all.mean() < 0.6 * as_it_is.mean()
    assert np.isfinite(ngram_nats(coding, train, [0], [events[-1], np.zeros(0, np.int64)])).all()


def test_the_baseline_is_a_probability() -> None:
    piece = piece_of(decode_midi(music.chorale(0, 6), MediaLimits()))
    coding = fit_coding([piece], None, None)
    train = joined([coding.encode(piece)])
    nats = [
        ngram_nats(coding, train, [0], [np.array([token])])[0] for token in range(coding.size) if token != END
    ]
    ended = ngram_nats(coding, train, [0], [np.zeros(0, np.int64)])[0]
    assert np.exp(-np.array([*nats, ended])).sum() == pytest.approx(1)
