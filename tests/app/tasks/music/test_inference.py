"""Requests: primers and parameters, notes as they are composed, and the file in the answer."""

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest

from app.errors import Invalid
from app.media.limits import MediaLimits
from app.media.midi import decode_midi
from app.tasks import TASKS
from app.tasks.contract import END, DecodedTokens, StreamingTask, bytes_to_json
from app.tasks.music.codings.selection import coding_to_json, fit_coding
from app.tasks.music.detokenizer import NoteDetokenizer
from app.tasks.music.inference import (
    MAX_PRIMER_EVENTS,
    MusicInstance,
    MusicParameters,
    decoding_settings,
    step_seconds,
)
from app.tasks.music.midi_file import write_piece
from app.tasks.music.reading import piece_of
from app.typedefs import Json
from tests.support.factories import music
from tests.support.single import decode_one, encode_one

TASK: Any = TASKS["music"]
NOTHING = np.array([[END]])  # a beginning without notes
PIECES = [piece_of(decode_midi(music.chorale(seed), MediaLimits())) for seed in range(3)]
CODING = fit_coding(PIECES, None, None)
STATE: Json = {"coding": coding_to_json(CODING)}
EVENTS = CODING.encode(PIECES[0])  # of 16 time steps, half a second each


def instance(content: bytes) -> Any:
    return msgspec.convert({"midi_base64": bytes_to_json(content)}, TASK.instance)


def answer(events: Any, **parameters: Any) -> Json:
    settings = MusicParameters(**parameters)
    example = encode_one(TASK, STATE, instance(b""), settings)
    prediction: Json = decode_one(TASK, STATE, example, DecodedTokens(np.array(events), {}), settings)
    return prediction


def test_a_primer_is_read_behind_the_beginning_of_a_piece() -> None:
    parameters = MusicParameters()
    example = encode_one(TASK, STATE, instance(music.chorale(0)), parameters)
    assert example.inputs[:, 0].tolist() == [END, *EVENTS.tolist()]
    assert encode_one(TASK, STATE, instance(b""), parameters).inputs.tolist() == [[END]]
    assert encode_one(TASK, STATE, TASK.instance(), parameters).inputs.tolist() == [[END]]
    long = encode_one(TASK, STATE, instance(music.chorale(0, 1500)), parameters)
    assert len(long.inputs) == 1 + MAX_PRIMER_EVENTS


def test_a_primer_that_breaks_off_is_gone_on_with_and_the_answer_has_a_warning() -> None:
    parameters = MusicParameters()
    for content, warnings in (
        (music.chorale(0), None),
        (music.chorale(0)[:-30], ["The file breaks off in track 5."]),
    ):
        example = encode_one(TASK, STATE, instance(content), parameters)
        prediction = decode_one(TASK, STATE, example, DecodedTokens(EVENTS, {}), parameters)
        assert prediction.get("warnings") == warnings


def test_a_primer_out_of_range_is_moved_by_octaves() -> None:
    low = music.midi([[(0, 480, 72)], [(0, 480, 65)], [(0, 480, 60)], [(0, 480, 1)]])
    example = encode_one(TASK, STATE, instance(low), MusicParameters())
    detokenizer = NoteDetokenizer(CODING, 100)
    detokenizer.push(example.inputs[1:, 0].tolist())
    detokenizer.close()
    assert {note.key % 12 for note in detokenizer.notes} == {0, 5, 1}


@pytest.mark.parametrize("content", [b"junk", b"\x89PNG", music.midi([[]])])
def test_a_primer_that_is_no_music_is_refused(content: bytes) -> None:
    with pytest.raises(Invalid) as refused:
        encode_one(TASK, STATE, instance(content), MusicParameters())
    (problem,) = refused.value.problems
    assert problem.pointer == "/midi_base64"
    assert problem.detail.startswith("The file ")


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": 0}, {"seconds": -1}, {"seconds": 1e9}, {"seconds": float("nan")}, {"temperature": -1},
        {"temperature": 1e9}, {"top_p": 2}, {"top_k": -1}, {"tempo": 1},
    ],
)  # fmt: skip
def test_parameters_out_of_range_are_refused(wrong: Json) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, MusicParameters)


def test_a_seed_repeats_and_differs_between_primers() -> None:
    primers = [NOTHING, NOTHING.astype(np.int32), np.array([[END], [5]])]
    settings = [decoding_settings(CODING, primer, MusicParameters(seed=3)) for primer in primers]
    assert settings[0] == settings[1] != settings[2]
    free = [decoding_settings(CODING, NOTHING, MusicParameters())["seed"] for _ in range(2)]
    assert free[0] != free[1]
    assert decoding_settings(CODING, NOTHING, MusicParameters(top_p=0.0))["top_k"] == 1


def test_the_same_piece_in_another_file_is_gone_on_with_in_the_same_way() -> None:
    first = music.chorale(1)
    stored = write_piece(piece_of(decode_midi(first, MediaLimits())))  # as a batch has it
    examples = [
        encode_one(TASK, STATE, MusicInstance(content), MusicParameters(seed=3))
        for content in (first, stored)
    ]
    assert first != stored
    assert examples[0].decoding == examples[1].decoding


def test_the_answer_is_a_file_with_the_same_notes() -> None:
    prediction = answer(EVENTS, seconds=100)
    read = decode_midi(prediction["midi_base64"], MediaLimits())
    piece = piece_of(read)
    seconds = piece.seconds(piece.notes[:, :2].reshape(-1)).reshape(-1, 2).round(4).tolist()
    found = sorted([*times, pitch] for times, pitch in zip(seconds, piece.notes[:, 2].tolist(), strict=True))
    assert found == sorted([note["start"], note["end"], note["pitch"]] for note in prediction["notes"])
    assert len(read["tracks"]) == 4
    assert prediction["statistics"]["valid_events"] == 1
    assert prediction["statistics"]["notes"] == len(prediction["notes"])
    assert all(one["start"] <= other["start"] for one, other in pairwise(prediction["notes"]))


def test_no_more_seconds_are_composed_than_asked_for() -> None:
    for seconds in (0.5, 3.0, 3.2):
        prediction = answer(EVENTS, seconds=seconds)
        limit = max(1, round(seconds / step_seconds(CODING))) * step_seconds(CODING)
        assert max(note["end"] for note in prediction["notes"]) == pytest.approx(limit)
        assert prediction["finish_reason"] == "stop"


def test_the_end_of_a_piece_ends_it() -> None:
    prediction = answer([*EVENTS[:8], END, *EVENTS], seconds=20)
    assert max(note["end"] for note in prediction["notes"]) == pytest.approx(1.0)
    assert prediction["finish_reason"] == "stop"
    assert answer(EVENTS[:8], seconds=20)["finish_reason"] == "length"


def test_nothing_is_a_file_too() -> None:
    prediction = answer([], seconds=1)
    assert (prediction["notes"], prediction["midi_base64"][:4]) == ([], b"MThd")
    assert prediction["statistics"]["key"] is None


@pytest.mark.parametrize("size", [1, 3, 50])
def test_streamed_lines_are_the_notes_of_the_answer(size: int) -> None:
    assert isinstance(TASK, StreamingTask)
    settings = decoding_settings(CODING, NOTHING, MusicParameters(seconds=3.0))
    detokenizer = TASK.detokenizer(STATE, settings)
    events = EVENTS.tolist()
    text = "".join(detokenizer.push(events[start : start + size]) for start in range(0, len(events), size))
    lines = [orjson.loads(line) for line in (text + detokenizer.close()).splitlines()]
    expected = answer(EVENTS, seconds=3.0)["notes"]
    assert sorted(lines, key=str) == sorted(expected, key=str)
    assert detokenizer.ended


def test_a_batch_is_not_streamed() -> None:
    (problem,) = TASK.check_dataset({}, STATE, MusicParameters(stream=True))
    assert problem.pointer == "/parameters/stream"
    assert TASK.check_dataset({}, STATE, MusicParameters()) == []
