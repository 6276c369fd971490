"""Error rates against ones counted by hand; the baselines answer without a network."""

import numpy as np
import pytest

from app.tasks.shared.ragged import Ragged
from app.tasks.speech.baseline import constant_transcript, linear_transcripts
from app.tasks.speech.metrics import error_rates


def test_error_rates_are_those_counted_by_hand() -> None:
    rates = error_rates(["one two three", "four"], ["one too three five", "four"])
    assert rates["wer"] == pytest.approx(100 * 2 / 4)
    assert rates["cer"] == pytest.approx(100 * 6 / 17, abs=1e-4)
    assert rates["sentence_error_rate"] == 50
    assert (rates["substitutions"], rates["insertions"], rates["deletions"]) == (1, 1, 0)


def test_words_in_answer_to_silence_are_errors() -> None:
    rates = error_rates(["", "a b"], ["cd", "a b"])
    assert (rates["wer"], rates["cer"]) == (pytest.approx(100 * 1 / 2), pytest.approx(100 * 2 / 3, abs=1e-4))
    assert (rates["insertions"], rates["sentence_error_rate"]) == (1, 50)
    assert error_rates([""], [""]) | {"wer": 0.0, "cer": 0.0} == error_rates([""], [""])


def test_the_constant_answer_is_the_one_with_the_fewest_errors() -> None:
    assert constant_transcript(["a b", "a c", "a b", "d"]) == "a b"


def test_a_linear_model_tells_a_few_transcripts_apart() -> None:
    rng, texts = np.random.default_rng(0), ["up", "down"] * 20
    clips = []
    for text in texts:
        slope = np.linspace(-1, 1, int(rng.integers(20, 40)))[:, None]
        clips.append((slope if text == "up" else -slope) * np.ones(8) + rng.normal(0, 0.1, (len(slope), 8)))
    frames = Ragged.of(clips, np.float32)
    assert linear_transcripts(frames, texts, np.arange(30), np.arange(30, 40)) == texts[30:]
    distinct = [f"{text} {number}" for number, text in enumerate(texts)]
    assert linear_transcripts(frames, distinct, np.arange(30), np.arange(30, 40)) is None
