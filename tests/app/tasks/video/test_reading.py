"""Archives of clips become arrays, or faults with the line and the field."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import DatasetInvalid, Problem
from app.ingest.readers import Mapping, open_source
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.source import Faults, Reading
from app.tasks.video.inference import VideoInstances
from app.tasks.video.reading import read_clips
from tests.support.factories.clips import archive, encode, moving_square, sides, sound

GOOD = {name: encode(moving_square(right=True, count=4, seed=seed)) for seed, name in enumerate("abcdefgh")}
LINES: list[Any] = [{"video": name, "label": "lr"[number % 2]} for number, name in enumerate(GOOD)]


def read_all(directory: Path, members: dict[str, bytes], lines: list[Any]) -> Reading:
    path = directory / "clips.zip"
    path.write_bytes(archive(members, lines))
    faults = Faults()
    return read_clips(open_source(path, "zip", Mapping.checked({}, ()), faults), faults)


def read(directory: Path, members: dict[str, bytes], lines: list[Any]) -> Any:
    reading = read_all(directory, members, lines)
    return reading.arrays, reading.summary, reading.warnings


def problems(directory: Path, members: dict[str, bytes], lines: list[Any]) -> list[Problem]:
    with pytest.raises(DatasetInvalid) as caught:
        read(directory, members, lines)
    return caught.value.problems


def test_clips_are_stored_as_they_are_with_their_labels(tmp_path: Path) -> None:
    lines = [
        {**line, "split": split}
        for line, split in zip(LINES, ["train"] * 4 + ["valid", "test"] * 2, strict=True)
    ]
    arrays, summary, warnings = read(tmp_path, GOOD, lines)
    assert [
        clip.tobytes() for clip in map(Ragged.from_arrays(arrays, "clips").__getitem__, range(8))
    ] == list(GOOD.values())
    assert Texts.from_arrays(arrays, "labels").pick(range(2)) == ["l", "r"]
    assert arrays["label"].tolist() == [0, 1] * 4
    assert arrays["split"].tolist() == [0, 0, 0, 0, 1, 2, 1, 2]
    assert summary == {
        "examples": 8,
        "classes": 2,
        "labels": {"l": 4, "r": 4},
        "lengths": {"unit": "frames", "shortest": 4, "median": 4.0, "longest": 4},
        "frame_size": "40 × 32",
        "splits": {"train": 4, "valid": 2, "test": 2, "open": 0},
    }
    assert warnings == ["Labels with fewer than 5 clips: 2, such as 'l', 'r'."]


@pytest.mark.parametrize(
    ("change", "column", "detail"),
    [
        ({"video": None}, "video", "The name of the video is missing."),
        ({"video": 3}, "video", "The name of the video is '3', which is no text."),
        ({"video": "z"}, "video", "The archive has no member 'z'."),
        ({"video": "/etc/passwd"}, "video", "The archive has no member '/etc/passwd'."),
        ({"video": "http://127.0.0.1/"}, "video", "The archive has no member 'http://127.0.0.1/'."),
        ({"video": "../a"}, "video", "The archive has no member '../a'."),
        ({"label": None}, "label", "The label is missing."),
        ({"label": {}}, "label", "The label is '{}', which is no text."),
        ({"label": 1}, "label", "The label is '1', which is no text."),
        ({"label": " "}, "label", "The label is empty."),
        ({"label": "x\0"}, "label", "The label has a NUL character."),
        (
            {"label": "\ud800"},
            "label",
            "The label is no Unicode text: character 0 is half of a surrogate pair.",
        ),
        ({"label": "x" * 1000}, "label", "The label has 1,000 characters; at most 200 are read."),
        ({"split": "dev"}, "split", "'dev' is no split; it must be train, valid or test."),
        ({"size": 3}, "size", "There is no field 'size'."),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, change: dict[str, Any], column: str, detail: str) -> None:
    lines = [*LINES[:2], {**LINES[2], **change}, *LINES[3:]]
    assert problems(tmp_path, GOOD, lines) == [Problem(f"/file/row/3/column/{column}", detail)]


def test_every_broken_clip_is_named_and_none_stops_the_reading(tmp_path: Path) -> None:
    members = {
        **GOOD,
        "b": sound(),
        "d": b"\x89PNG\r\n\x1a\n",
        "f": GOOD["f"][: GOOD["f"].index(b"moov") - 4],
    }
    assert problems(tmp_path, members, LINES) == [
        Problem("/file/row/2/column/video", "The member 'b' has only sound."),
        Problem("/file/row/4/column/video", "The member 'd' is not a video: it is a PNG image."),
        Problem("/file/row/6/column/video", "The member 'f' is not a video that can be read."),
    ]


def test_members_without_a_line_are_counted_in_one_warning(tmp_path: Path) -> None:
    extra = {"LICENSE.txt": b"x", ".DS_Store": b"x", "__MACOSX/._a": b"x"}
    _, summary, warnings = read(tmp_path, GOOD | extra, LINES)
    assert summary["examples"] == 8
    assert warnings[0].startswith("Left out: 3 of the archive's members, in no line of the manifest (")


def test_a_clip_named_twice_is_a_warning_or_a_fault(tmp_path: Path) -> None:
    _, summary, warnings = read(tmp_path, GOOD, [*LINES, LINES[0]])
    assert summary["examples"] == 8
    assert "Lines of the manifest that repeat others are left out: 1." in warnings
    assert problems(tmp_path, GOOD, [*LINES, LINES[0] | {"label": "r"}]) == [
        Problem("/file/row/9/column/label", "The member 'a' has another label in an earlier line.")
    ]
    assert problems(tmp_path, GOOD, [*LINES, LINES[0] | {"split": "test"}]) == [
        Problem("/file/row/9/column/split", "The member 'a' has another split in an earlier line.")
    ]


def test_blanks_around_labels_and_copies_across_splits_are_warnings(tmp_path: Path) -> None:
    lines = [*LINES[:-1], LINES[-1] | {"label": "r "}, {"video": "copy", "label": "l", "split": "test"}]
    _, summary, warnings = read(tmp_path, GOOD | {"copy": GOOD["a"]}, lines)
    assert summary["labels"] == {"l": 5, "r": 4}
    assert "Blanks around labels are left out, in lines: 1." in warnings
    assert "Clips for training that are also held out for valid or test: 1." in warnings


@pytest.mark.parametrize(
    ("lines", "detail"),
    [
        ([{**line, "label": "same"} for line in LINES], "Every clip has the label 'same'"),
        ([{**line, "label": line["video"]} for line in LINES], "8 clips are too few for 8 labels."),
        ([{**line, "split": "test"} for line in LINES], "The clips for training have fewer than two labels."),
    ],
)
def test_too_little_to_learn_from(tmp_path: Path, lines: list[Any], detail: str) -> None:
    reading = read_all(tmp_path, GOOD, lines)
    assert str(reading.untrainable).startswith(detail)
    assert reading.has_answers
    assert not reading.warnings


def test_a_manifest_without_lines(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD, [])[0].detail.startswith("The manifest names no members.")


@pytest.mark.parametrize(
    ("count", "reason"),
    [(1, "There is 1 clip; 8 are needed."), (7, "There are 7 clips; 8 are needed."), (8, None)],
)
def test_a_few_clips_can_be_predicted_only(tmp_path: Path, count: int, reason: str | None) -> None:
    reading = read_all(tmp_path, GOOD, LINES[:count])
    assert reading.untrainable == reason
    assert len(VideoInstances(reading.arrays)) == count


def test_clips_without_labels_can_be_predicted_only(tmp_path: Path) -> None:
    lines = [{"video": "a"}, {"video": "b", "label": None}, {"video": "c", "label": ""}, {"video": "a"}]
    arrays, summary, warnings = read(tmp_path, GOOD, lines)
    assert read_all(tmp_path, GOOD, lines).untrainable == "No clip has a label."
    assert (summary["examples"], summary["labels"], arrays["label"].tolist()) == (3, {}, [-1, -1, -1])
    instances = VideoInstances(arrays)
    assert [instances[row].video_base64 for row in range(len(instances))] == [GOOD[name] for name in "abc"]
    assert warnings[1] == "Lines of the manifest that repeat others are left out: 1."
    assert problems(tmp_path, GOOD, [*lines[:3], {"video": "d", "label": "x"}]) == [
        Problem("/file/row/1/column/label", "The label is missing."),
        Problem("/file/row/2/column/label", "The label is missing."),
        Problem("/file/row/3/column/label", "The label is empty."),
    ]


def test_a_clip_that_is_cut_off_is_a_warning(tmp_path: Path) -> None:
    content = encode(moving_square(right=True, count=60), container="webm", codec="libvpx")
    _, _, warnings = read(tmp_path, GOOD | {"a": content[:-600]}, LINES)
    assert "Clips that end before their headers say; what is there was read: 1." in warnings


def test_a_manifest_is_needed(tmp_path: Path) -> None:
    content = archive(GOOD, LINES).replace(b"manifest.jsonl", b"manifest.other")
    (tmp_path / "clips.zip").write_bytes(content)
    faults = Faults()
    source = open_source(tmp_path / "clips.zip", "zip", Mapping.checked({}, ()), faults)
    with pytest.raises(DatasetInvalid, match=r"has no manifest.jsonl"):
        read_clips(source, faults)


def test_reading_is_repeatable(tmp_path: Path) -> None:
    (tmp_path / "clips.zip").write_bytes(sides(12))
    results = []
    for _ in range(2):
        faults = Faults()
        results.append(
            read_clips(open_source(tmp_path / "clips.zip", "zip", Mapping.checked({}, ()), faults), faults)
        )
    for name, array in results[0].arrays.items():
        np.testing.assert_array_equal(array, results[1].arrays[name])
