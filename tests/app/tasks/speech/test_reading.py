"""Archives are read whole, each fault names its line, and one broken recording does not hide another."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from app.tasks import TASKS
from app.tasks.shared.ragged import Ragged
from app.tasks.speech.options import SpeechParameters
from tests.app.tasks.speech.conftest import ReadArchive
from tests.support.factories.recordings import archive, muxed, tone, written

Problems = Callable[[bytes], dict[str, str]]
TONE = written(tone(1.0))


def lines(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [{"audio": f"{number}.wav", "text": "ab"} | changes for number in range(count)]


def files(count: int, content: bytes = TONE) -> dict[str, bytes]:
    return {f"{number}.wav": content for number in range(count)}


def test_rates_channels_and_containers_are_mixed_in_one_archive(read_archive: ReadArchive) -> None:
    entries = {
        "a/0.wav": TONE,
        "a/1.flac": written(tone(1.0), container="FLAC"),
        "2.mp3": written(tone(1.0, 44_100, 2), 44_100),  # a WAV file in truth
        "3.ogg": written(tone(1.0, 48_000), 48_000, "OGG", "OPUS"),
        "4.m4a": muxed(1.0),
        ".DS_Store": b"x",
        "LICENSE.txt": b"free",
    }
    manifest = [{"audio": name, "text": "ab"} for name in list(entries)[:5]]
    reading = read_archive(archive(entries, manifest))
    assert reading.summary["sample_rate"] == 16_000
    audio = Ragged.from_arrays(reading.arrays, "audio")
    assert audio.values.dtype == np.int16
    assert audio.lengths == pytest.approx(16_000, abs=2_100)  # AAC adds a frame at each end
    (warning,) = reading.warnings
    assert warning.startswith("Left out: 2 of the archive's members, in no line of the manifest (")


def test_the_summary_says_what_there_is(read_archive: ReadArchive) -> None:
    manifest = [*lines(4), {"audio": "4.wav", "text": "  a \n b ", "split": "test"}]
    reading = read_archive(archive(files(5), manifest))
    assert reading.summary["examples"] == 5
    assert reading.summary["seconds"] == pytest.approx(5.0)
    assert reading.summary["splits"] == {"train": 0, "valid": 0, "test": 1, "open": 4}
    assert reading.summary["characters"] == {"a": 5, "b": 5, " ": 1}


def test_every_line_is_checked_strictly(problems_of: Problems) -> None:
    manifest = b"""{"audio": 7, "text": "a"}
{"audio": "1.wav", "text": null}
{"audio": "2.wav", "text": "a", "split": "dev"}
{"audio": "3.wav", "text": "a", "speaker": "x"}
{"audio": "4.wav", "text": "\\ud800"}
{"audio": "5.wav", "text": "a\\u0000"}
{"audio": "6.wav"}
{"audio": "7.wav", "text": ["a"]}
{"text": "a"}
{"audio": "8.wav", "text": NaN}
"""
    problems = problems_of(archive(files(9), manifest))
    assert {
        "/file/row/1/column/audio", "/file/row/2/column/text", "/file/row/3/column/split",
        "/file/row/4/column/speaker", "/file/row/5/column/text", "/file/row/6/column/text",
        "/file/row/7/column/text", "/file/row/8/column/text", "/file/row/9/column/audio",
    } <= problems.keys()  # fmt: skip
    assert any(pointer.startswith("/file/row/10") for pointer in problems)


def test_what_is_not_in_the_archive_is_not_opened(problems_of: Problems) -> None:
    names = ["b.wav", "/etc/passwd", "http://127.0.0.1:6379/", "file:///etc/passwd", "../0.wav"]
    problems = problems_of(archive(files(1), [{"audio": name, "text": "a"} for name in names]))
    assert list(problems) == [f"/file/row/{row}/column/audio" for row in range(1, 6)]
    assert all("has no member" in detail for detail in problems.values())


def test_broken_recordings_are_named_together_and_the_others_are_read(problems_of: Problems) -> None:
    entries = files(6) | {"1.wav": b"<html>", "3.wav": TONE[:20], "4.wav": b"\x89PNG\r\n\x1a\n"}
    problems = problems_of(archive(entries, lines(6)))
    assert list(problems) == [f"/file/row/{row}/column/audio" for row in (2, 4, 5)]
    assert problems["/file/row/2/column/audio"] == "The member '1.wav' is not audio: it is an HTML page."
    many = problems_of(archive(files(30, b"text"), lines(30)))
    assert len(many) == 20


def test_a_text_too_long_for_its_audio_is_refused_with_both_numbers(problems_of: Problems) -> None:
    manifest = [*lines(3), {"audio": "3.wav", "text": "a" * 100_000}, {"audio": "4.wav", "text": "aab" * 9}]
    problems = problems_of(archive(files(5), manifest))
    assert "100,000 characters need 199,999 steps" in problems["/file/row/4/column/text"]
    assert "1.00 seconds have 34 of 30 ms" in problems["/file/row/4/column/text"]
    assert "27 characters need 36 steps" in problems["/file/row/5/column/text"]


def test_the_same_recording_twice(problems_of: Problems, read_archive: ReadArchive) -> None:
    same = read_archive(archive(files(4), [*lines(4), *lines(1)]))
    assert same.warnings == ["1 lines of the manifest repeat another and were left out."]
    problems = problems_of(archive(files(4), [*lines(4), {"audio": "2.wav", "text": "b"}]))
    assert problems == {"/file/row/5/column/audio": "The member '2.wav' has another text or split in line 3."}


def test_odd_texts_are_accepted(read_archive: ReadArchive) -> None:
    texts = ["", "a\x07b", "\u202eab", "\U0001f600", "e\u0301", "שלום"]
    manifest = [{"audio": f"{row}.wav", "text": text} for row, text in enumerate(texts)]
    reading = read_archive(archive(files(6), manifest))
    assert "é" in reading.summary["characters"]


@pytest.mark.parametrize(
    ("count", "changes", "detail"),
    [
        (4, {"split": "test"}, "No recording is for training."),
        (4, {"text": ""}, "Every text for training is empty."),
    ],
)
def test_too_little_to_learn_from(
    read_archive: ReadArchive, count: int, changes: dict[str, str], detail: str
) -> None:
    reading = read_archive(archive(files(count), lines(count, **changes)))
    assert (reading.untrainable, reading.has_answers, reading.warnings) == (detail, True, [])


@pytest.mark.parametrize(
    ("count", "reason"),
    [(1, "There is 1 recording; 3 are needed."), (2, "There are 2 recordings; 3 are needed.")],
)
def test_a_few_recordings_are_only_to_be_predicted(
    read_archive: ReadArchive, count: int, reason: str
) -> None:
    reading = read_archive(archive(files(count), lines(count)))
    assert reading.untrainable == reason
    assert len(TASKS["speech"].instances(reading.arrays, {})) == count


def test_a_shortened_recording_is_read_with_a_warning(read_archive: ReadArchive) -> None:
    reading = read_archive(archive(files(3, TONE[:-4_000]), lines(3)))
    assert reading.warnings == ["3 recordings end before their headers say; what is there was read."]


def test_recordings_without_texts_are_only_to_be_predicted(read_archive: ReadArchive) -> None:
    reading = read_archive(archive(files(2), [{"audio": "0.wav"}, {"audio": "1.wav", "split": "test"}]))
    summary = reading.summary
    assert (reading.untrainable, reading.has_answers) == ("No recording has a text.", False)
    assert (summary["examples"], summary["transcripts"], summary["characters"]) == (2, 0, {})
    task = TASKS["speech"]
    assert task.check_dataset(summary, {}, SpeechParameters()) == []
    assert len(task.instances(reading.arrays, {})) == 2


def test_recordings_of_silence_have_texts(read_archive: ReadArchive) -> None:
    manifest = [{"audio": f"{number}.wav", "text": ""} for number in range(4)]
    reading = read_archive(archive(files(4), manifest))
    assert (reading.untrainable, reading.has_answers) == ("Every text for training is empty.", True)


def test_a_line_without_a_text_among_others_is_refused(problems_of: Problems) -> None:
    manifest = [*lines(3), {"audio": "3.wav"}, {"audio": "4.wav", "text": "a"}, {"audio": "5.wav"}]
    missing = "The text is missing; other lines have one."
    assert problems_of(archive(files(6), manifest)) == {
        "/file/row/4/column/text": missing,
        "/file/row/6/column/text": missing,
    }
