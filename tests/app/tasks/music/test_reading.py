"""Reading archives of MIDI files: what is taken, what is left out, and what is said of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import DatasetInvalid, Problem
from app.ingest.readers import Mapping, open_source
from app.tasks import TASKS
from app.tasks.contract import bytes_to_json
from app.tasks.music.codings.pieces import Piece
from app.tasks.music.reading import StoredPieces, pieces_to_arrays, read_beginnings, read_pieces
from app.tasks.shared.splits import UNASSIGNED
from app.tasks.source import Faults
from app.typedefs import Json
from tests.app.malformed import Malformed
from tests.app.malformed_music import MALFORMED
from tests.support.factories import music
from tests.support.factories.zips import Zip


def opened(path: Path, content: bytes, faults: Faults) -> Any:
    archive = path / "pieces.zip"
    archive.write_bytes(content)
    return open_source(archive, "zip", Mapping.checked({}, ()), faults)


def read(path: Path, content: bytes) -> tuple[dict[str, Any], Json, list[str]]:
    faults = Faults()
    return read_pieces(opened(path, content, faults), faults)


def test_without_a_manifest_all_midi_files_are_taken(tmp_path: Path) -> None:
    files = {
        "folder/one.MID": music.chorale(0),
        "two.midi": music.chorale(1),
        ".DS_Store": b"\x00",
        "__MACOSX/._two.midi": b"\x00\x05\x16\x07",
        "LICENSE.txt": b"public domain",
    }
    arrays, summary, warnings = read(tmp_path, music.archive(files))
    assert summary["pieces"] == 2
    assert arrays["split"].tolist() == [UNASSIGNED, UNASSIGNED]
    (warning,) = warnings
    assert warning.startswith("Left out: 3 of the archive's members")


@pytest.mark.parametrize(
    ("count", "beats", "reason"),
    [
        (1, 8, "There is 1 piece; 3 are needed."),
        (2, 8, "There are 2 pieces; 3 are needed."),
        (3, 1, "There are 12 notes to train on; at least 100 are needed."),
        (3, 16, None),
    ],
)
def test_too_little_music_is_said_at_once(tmp_path: Path, count: int, beats: int, reason: str | None) -> None:
    files = {f"{number}.mid": music.chorale(number, beats) for number in range(count)}
    faults = Faults()
    reading = TASKS["music"].read(opened(tmp_path, music.archive(files), faults), faults)
    assert reading.untrainable == reason


def test_a_manifest_names_files_and_splits(tmp_path: Path) -> None:
    rows = [{"midi": "b.mid", "split": "test"}, {"midi": "a.mid"}, {"midi": "a.mid"}]
    content = music.archive({name: music.chorale(0) for name in ("a.mid", "b.mid", "c.mid")}, rows)
    arrays, summary, warnings = read(tmp_path, content)
    assert arrays["split"].tolist() == [2, UNASSIGNED]
    assert summary["splits"] == {"train": 0, "valid": 0, "test": 1, "open": 1}
    assert [warning.split()[0] for warning in warnings] == ["Line", "Left"]


def test_a_byte_order_mark_and_windows_line_ends_are_no_fault(tmp_path: Path) -> None:
    manifest = '\ufeff{"midi": "a.mid"}\r\n\r\n{"midi": "b.mid"}\r\n'
    content = music.archive({name: music.chorale(3) for name in ("a.mid", "b.mid")}, manifest)
    assert read(tmp_path, content)[1]["pieces"] == 2


def test_the_summary_says_what_is_in_the_files(tmp_path: Path) -> None:
    drums = music.midi([[(0, 480, 60)], [(0, 240, 36), (240, 480, 38)]], channels=[0, 9])
    _, summary, _ = read(tmp_path, music.archive({"a.mid": drums}))
    expected = {"pieces": 1, "notes": 3, "seconds": 0.5, "tracks": 2, "lowest_pitch": 60, "highest_pitch": 60}
    assert expected.items() <= summary.items()
    assert (summary["drums"], summary["coding"], summary["steps_per_quarter"]) == (True, "chords", 2)


def test_only_drums_are_music_too(tmp_path: Path) -> None:
    drums = music.midi([[(0, 240, 36), (240, 480, 38)]], channels=[9])
    _, summary, _ = read(tmp_path, music.archive({"a.mid": drums}))
    assert (summary["notes"], summary["lowest_pitch"]) == (2, None)


def test_each_broken_file_is_a_fault_and_the_others_are_read(tmp_path: Path) -> None:
    files = {f"{number}.mid": b"junk" if number % 2 else music.chorale(number, 2) for number in range(8)}
    with pytest.raises(DatasetInvalid) as refused:
        read(tmp_path, music.archive(files))
    assert [problem.pointer for problem in refused.value.problems] == [
        f"/file/member/{number}.mid" for number in (1, 3, 5, 7)
    ]


def test_a_file_that_breaks_off_is_a_warning(tmp_path: Path) -> None:
    _, _, warnings = read(tmp_path, music.archive({"a.mid": music.chorale(0)[:-30]}))
    assert warnings == ["The member 'a.mid' breaks off in track 5."]


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case.name)
def test_what_cannot_be_used_is_named(case: Malformed, tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid) as refused:
        read(tmp_path, case.body)
    problems = refused.value.problems
    assert any(case.pointer in one.pointer and case.word in one.detail for one in problems), problems


def test_pieces_survive_being_stored() -> None:
    pieces = [
        Piece(np.array([[0, 5, 60, 64, 0]]), 480, 9, np.array([[0, 400_000]]), np.array([1])),
        Piece(
            np.array([[1, 2, 61, 65, 1], [3, 4, 62, 66, 0]]), 96, 4, np.zeros((0, 2), int), np.array([2, 3])
        ),
    ]
    stored = StoredPieces(pieces_to_arrays(pieces))
    assert len(stored) == 2
    for before, after in zip(pieces, stored, strict=True):
        assert (before.division, before.end, before.tempo) == (after.division, after.end, after.tempo)
        for name in ("notes", "tempos", "programs"):
            np.testing.assert_array_equal(getattr(before, name), getattr(after, name))


def test_files_are_instances_as_they_are(tmp_path: Path) -> None:
    faults, files = Faults(), {"a.mid": music.chorale(1), "b.mid": music.chorale(2)}
    instances = read_beginnings(opened(tmp_path, music.archive(files), faults), faults)
    assert instances == [{"midi_base64": bytes_to_json(content)} for content in files.values()]


def test_a_member_that_is_damaged_does_not_hide_the_next_one(tmp_path: Path) -> None:
    path, faults = tmp_path / "pieces.zip", Faults()
    path.write_bytes(Zip().add(b"a.mid", music.chorale(1), crc=1).add(b"b.mid", b"<html>").close())
    source = open_source(path, "zip", Mapping({}), faults)
    with pytest.raises(DatasetInvalid) as refused:
        read_pieces(source, faults)
    assert [(one.pointer, one.detail) for one in refused.value.problems] == [
        ("/file/member/a.mid", "The member 'a.mid' is damaged: its checksum is wrong."),
        ("/file/member/b.mid", "The member 'b.mid' is not MIDI: it is an HTML page."),
    ]


def test_beginnings_that_cannot_be_read_are_named_by_their_line(tmp_path: Path) -> None:
    faults = Faults()
    body = music.archive({"a.mid": b"x"}, '{"midi": "a.mid"}\n\n{"midi": "b.mid"}\n')
    assert len(read_beginnings(opened(tmp_path, body, faults), faults)) == 1
    assert faults.problems == [Problem("/file/row/3/column/midi", "The archive has no member 'b.mid'.")]
