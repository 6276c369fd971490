"""Speech from the archive to the answer: labels, options, defaults, requests, calibration, the demo."""

import base64
import gzip
from typing import Any

import msgspec
import numpy as np
import pytest

from app.errors import Invalid
from app.media.wav import wav_bytes
from app.tasks import TASKS
from app.tasks.contract import Example, Plan
from app.tasks.demonstration import Question, StyledText
from app.tasks.speech.demo import render
from app.tasks.speech.inference import Recording, decode_outputs, join_parts
from app.tasks.speech.labels import fit_labels, load_labels, normalize_transcript, steps_needed
from app.tasks.speech.metrics import choose_search
from app.tasks.speech.options import (
    SpeechInstance,
    SpeechOptions,
    SpeechParameters,
    check_options,
    masked_share,
    normalizes_by_clip,
    window_steps,
)
from app.tasks.speech.task import TASK as SPEECH
from tests.support.factories.recordings import muxed, tone, written
from tests.support.single import decode_one, encode_one

TASK = TASKS["speech"]


def test_labels_of_characters_and_byte_pairs_spell_the_text_again() -> None:
    texts = ["the cat sat", "the dog sat on the cat", "naïve 猫"]
    for unit in ("character", "bpe"):
        labels = load_labels(fit_labels(texts, unit, 300))
        for text in texts:
            assert labels.decode(labels.encode(text)) == text
        assert min(labels.encode(texts[0])) >= 1
    characters = load_labels(fit_labels(texts[:2], "character", 300))
    assert characters.decode(characters.encode("the xylophone")) == "the ohone"  # x, y, l and p are unknown


def test_transcripts_are_normalized_and_need_a_blank_between_equal_labels() -> None:
    assert normalize_transcript(" e\u0301  a\n") == "é a"
    assert [steps_needed(text) for text in ("", "ab", "aab", "aaaa")] == [0, 2, 4, 7]


def test_options_that_do_not_fit_the_data_are_named() -> None:
    summary = {"max_stride": 3, "sample_rate": 8_000}
    assert check_options(summary, SpeechOptions()) == []
    (bins,) = check_options(summary, SpeechOptions(mel_bins=100))
    assert bins == ("/options/mel_bins", "recordings at 8,000 Hz have room for 95 bins")
    assert [one.pointer for one in check_options(summary, SpeechOptions(stride=4))] == ["/options/stride"]
    pairs = SpeechOptions(tokens="bpe", vocabulary_size=100)
    assert [one.pointer for one in check_options(summary, pairs)] == ["/options/vocabulary_size"]


def test_batches_and_epochs_follow_from_how_much_audio_there_is() -> None:
    def defaults(clip_seconds: float, train_seconds: float) -> Any:
        summary = {"train_seconds": train_seconds, "lengths": {"median": clip_seconds}}
        return TASK.defaults(summary, SpeechOptions()).training

    sizes = [defaults(seconds, 3_600.0)["batch_size"] for seconds in (0.0, 0.4, 3.0, 6.0, 200.0)]
    assert sizes == [32, 32, 8, 4, 4]
    epochs = [defaults(3.0, seconds)["epochs"] for seconds in (0.0, 10_000.0, 1e6)]
    assert epochs == [100, 14, 12]
    assert [defaults(3.0, seconds)["patience"] for seconds in (0.0, 10_000.0)] == [50, 15]


def test_little_audio_is_varied_more() -> None:
    options = SpeechOptions()
    assert [masked_share(options, seconds) for seconds in (3_000.0, 3_600.0)] == [0.2, 0.05]
    assert masked_share(SpeechOptions(masking=0.0), 600.0) == 0.0
    summaries = [{"train_seconds": seconds, "lengths": {"median": 3.0}} for seconds in (3_000.0, 3_600.0)]
    assert [TASK.defaults(one, options).network["dropout"] for one in summaries] == [0.2, 0.05]


def test_very_short_clips_are_not_normalized_by_their_own_mean() -> None:
    assert [normalizes_by_clip(SpeechOptions(), seconds) for seconds in (0.4, 3.0)] == [False, True]
    assert normalizes_by_clip(SpeechOptions(normalize="clip"), 0.4)
    assert not normalizes_by_clip(SpeechOptions(normalize="data"), 3.0)


def test_windows_are_for_little_audio_unless_the_option_says_otherwise() -> None:
    assert [window_steps(SpeechOptions(), seconds) for seconds in (600.0, 3_600.0)] == [50, 0]
    assert window_steps(SpeechOptions(window=2.0, stride=4), 3_600.0) == 50
    assert window_steps(SpeechOptions(window=0.0), 600.0) == 0
    assert window_steps(SpeechOptions(window=0.001), 600.0) == 1


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        (written(tone(0.01)), 0.01),
        (written(tone(1.0, 96_000, 2), 96_000, "WAV", "PCM_24"), 1.0),
        (written(tone(0.5), container="WAV", subtype="ULAW"), 0.5),
        (written(np.zeros((24_000, 1)), 48_000, "OGG", "OPUS"), 0.5),
        (written(np.random.default_rng(0).normal(0, 0.3, (4_000, 1))), 0.5),
        (muxed(0.5), 0.5),
    ],
)
def test_any_audio_is_encoded_with_its_duration(small_plan: Plan, content: bytes, seconds: float) -> None:
    example = encode_one(TASK, small_plan.state, SpeechInstance(content), SpeechParameters())
    assert example.context.seconds == pytest.approx(seconds, abs=0.13)
    assert example.inputs.shape == (max(1, round(100 * example.context.seconds)), 40)
    assert np.isfinite(example.inputs).all()


def test_a_recording_that_is_cut_off_is_answered_with_a_warning(small_plan: Plan) -> None:
    content = written(tone(1.0))
    count = load_labels(small_plan.state["labels"]).count
    for part, warned in ((content, False), (content[:-8_000], True)):
        example = encode_one(TASK, small_plan.state, SpeechInstance(part), SpeechParameters())
        outputs = np.zeros((len(example.inputs) // 3 + 1, count), np.float32)
        answer = decode_one(TASK, small_plan.state, example, outputs, SpeechParameters())
        assert ("ends before its header says" in str(answer.get("warnings"))) == warned
        assert ("warnings" in answer) == warned


def test_a_recording_that_cannot_be_decoded_is_named(small_plan: Plan) -> None:
    for content, detail in (
        (b"", "the file is not audio: it is empty"),
        (b"<html>", "an HTML page"),
        (gzip.compress(written(tone())), "it is a file compressed by gzip; send what it holds"),
    ):
        with pytest.raises(Invalid) as refused:
            encode_one(TASK, small_plan.state, SpeechInstance(content), SpeechParameters())
        (problem,) = refused.value.problems
        assert problem.pointer == "/audio_base64"
        assert detail in problem.detail


@pytest.mark.parametrize("text", ["%%%", "data:audio/wav;base64,AAAA", "AA AA", "_-__", "A"])
def test_only_plain_base64_is_taken(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"audio_base64": text}, SpeechInstance)


def certain(labels: list[int], count: int) -> Any:
    """Log-probabilities that are sure of a label every other step."""
    outputs = np.full((2 * len(labels) + 1, count), -12.0, np.float32)
    outputs[:, 0] = -1e-4
    for place, label in enumerate(labels):
        outputs[2 * place + 1, [0, label]] = -12.0, -1e-4
    return outputs


def test_parts_are_decoded_alone_and_joined(small_plan: Plan) -> None:
    state = small_plan.state
    labels = load_labels(state["labels"])
    parts = [labels.encode("ab c"), [], labels.encode("cab")]
    outputs = [certain(part, labels.count) for part in parts]
    firsts = np.cumsum([0, *map(len, outputs)])
    steps = int(firsts[-1])
    recording = Recording(3 * steps / 100, [3 * int(first) for first in firsts[:-1]])
    example = encode_one(TASK, state, SpeechInstance(written(tone(3 * steps / 100))), SpeechParameters())
    example = type(example)(example.inputs[: 3 * steps], recording)
    answer = decode_outputs(state, example, np.concatenate(outputs), SpeechParameters())
    assert answer["text"] == "ab c cab" == join_parts(state, parts)
    assert [word["word"] for word in answer["words"]] == ["ab", "c", "cab"]
    times = [time for word in answer["words"] for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert answer["confidence"] > 0.99


@pytest.mark.parametrize("causal", [False, True])
def test_a_streamed_text_is_never_retracted_and_is_that_of_the_answer(
    small_plan: Plan, *, causal: bool
) -> None:
    state, rng = small_plan.state, np.random.default_rng(0)
    count = load_labels(state["labels"]).count
    frames = rng.normal(size=(5_000, 40)).astype(np.float32)
    example = Example(frames, Recording(50.0, [0, 1_500, 3_000]))
    logits = 6 * rng.normal(size=(1_667, count)) + np.array([6.0] + [0.0] * (count - 1))
    likely = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    parameters = SpeechParameters(beam_size=2)
    reader = SPEECH.piece_reader(state, example, parameters, causal=causal)
    assert len(reader.pieces) == (15 + 15 + 20 if causal else 1)
    text = ""
    for first, last in reader.pieces:
        noise = rng.normal(size=(4, count))  # of windows that lack what follows
        outputs = likely[first // 3 : -(-last // 3)].copy()
        if last not in (1_500, 3_000, 5_000):
            outputs[-4:] = noise
        text += reader.push(outputs)
    answer = reader.close()
    assert text == answer["text"]
    assert len(text) > 20
    assert reader.tokens > 20
    if not causal:  # such a network reads over the cuts, so it must read all of a recording at once
        assert answer == decode_one(TASK, state, example, likely, parameters)


def test_calibration_takes_the_language_model_only_where_it_helps(small_plan: Plan) -> None:
    state = small_plan.state | {"transcripts": ["abc abc"] * 20}
    labels = load_labels(state["labels"])
    clear = [certain(labels.encode("ab c"), labels.count)] * 3
    assert choose_search(state, clear, [[0]] * 3, ["ab c"] * 3)["beam_size"] == 1
    unsure = certain(labels.encode("abc abc"), labels.count)
    third = 2 * 2 + 1  # the step of the first c
    unsure[third, labels.encode("c")[0]], unsure[third, labels.encode("a")[0]] = -1.2, -0.4
    chosen = choose_search(state, [unsure] * 3, [[0]] * 3, ["abc abc"] * 3)
    assert chosen["weight"] > 0
    assert choose_search(state | {"language_model": "off"}, [unsure], [[0]], ["abc abc"])["weight"] == 0
    assert choose_search(state | {"language_model": "on"}, clear, [[0]] * 3, ["ab c"] * 3)["weight"] > 0


def test_instances_of_a_data_set_are_files_that_decode_to_the_same_samples(small_plan: Plan) -> None:
    samples = (1_000 * np.sin(np.arange(800))).astype(np.int16)
    content = wav_bytes(samples, 8_000)
    assert base64.b64decode(msgspec.json.decode(msgspec.json.encode(SpeechInstance(content)))["audio_base64"])
    example = encode_one(TASK, small_plan.state, SpeechInstance(content), SpeechParameters())
    assert example.context.seconds == pytest.approx(0.1)


def test_the_demo_marks_words_that_people_do_not_hear() -> None:
    question = Question({}, {"audio": "a.wav", "text": "one two"}, {})
    prediction = {"text": "one too", "duration_seconds": 1.0, "words": [{"word": "one"}, {"word": "too"}]}
    parts = [part for part in render(question, prediction) if isinstance(part, StyledText)]
    assert [part.style for part in parts] == ["aside", "right", "wrong", "aside"]
    assert parts[-1].text == " (people hear: one two)"
