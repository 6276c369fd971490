"""Reads pieces from an archive of MIDI files: those that a manifest names, or all of them."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from app.arrays import Arrays, Ints
from app.media.decoder import MediaDecoder
from app.tasks.media_members import MEMBER_NAMES, UNLISTED, MediaMembers, left_out_warnings
from app.tasks.music.codings.pieces import KEYS, MELODIC_KEYS, Coding, Piece
from app.tasks.music.codings.selection import coding_to_json, fit_coding
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.shared.splits import SPLIT, TRAINING_CODES, UNASSIGNED, count_splits, read_split
from app.tasks.shared.table_cells import MAX_FIELDS_SHOWN, shorten
from app.tasks.source import Faults, Source
from app.typedefs import Json

MIDI = "midi"  # the field of a manifest that names a file
SUFFIXES = (".mid", ".midi")
SYSTEM_FOLDER = "__MACOSX"
MIN_TRAIN_NOTES = 100  # with fewer nothing can be learned
MAX_WARNINGS = 10  # about single files
MAX_COUNTED_PIECES = 400  # whose events are counted for the summary


class MidiFile(NamedTuple):
    """A file that is to be read, and the line of the manifest that names it."""

    name: str
    split: int
    line: int | None


def read_pieces(source: Source, faults: Faults) -> tuple[Arrays, Json, list[str]]:
    """The arrays of a data set, its summary and warnings; every fault goes to `faults`."""
    pieces: list[Piece] = []
    names: list[str] = []
    codes: list[int] = []
    warnings: list[str] = []
    files = list(_list_files(source, faults, warnings))
    with MediaDecoder() as decoder:
        members = MediaMembers(source, faults, MIDI, decoder)
        for file in files:
            member = members.decode(file.name, file.line, {})
            if member is not None:
                _, decoded = member
                warnings += [f"The member {shorten(file.name)} {remark}." for remark in decoded["warnings"]]
                pieces.append(piece_of(decoded))
                names.append(file.name)
                codes.append(file.split)
    if not files and not faults.problems:
        faults.add("The archive has no MIDI files: their names end with .mid or .midi.")
    faults.check()
    if all(code not in TRAINING_CODES for code in codes):
        faults.add("No piece is for training: `split` is valid or test for all.", column=SPLIT)
        faults.check()
    summary = summarize(pieces, np.array(codes))
    arrays = pieces_to_arrays(pieces) | Texts.of(names).arrays(MEMBER_NAMES)
    return arrays | {SPLIT: np.array(codes, np.int8)}, summary, _limited(warnings)


def read_beginnings(source: Source, faults: Faults) -> list[Json]:
    """An instance for each file, which is its beginning."""
    files = list(_list_files(source, faults, []))
    return MediaMembers(source, faults, MIDI).instances((file.name, file.line) for file in files)


def _list_files(source: Source, faults: Faults, warnings: list[str]) -> Iterator[MidiFile]:
    if not source.has_manifest:
        names = [member.name for member in source.members() if _is_midi(member.name)]
        yield from (MidiFile(name, UNASSIGNED, None) for name in names)
        warnings += left_out_warnings(source.unlisted(names), "without the name of a MIDI file")
        return
    seen: dict[str, int] = {}  # name -> split
    for line, record in source.manifest():
        name, split = _read_name(record, line, faults), read_split(record.get(SPLIT), line, faults)
        if name is None or split is None:
            continue
        if name not in seen:
            seen[name] = split
            yield MidiFile(name, split, line)
        elif seen[name] == split:
            warnings.append(f"Line {line} names {shorten(name)} again, which is left out.")
        else:
            faults.add(f"{shorten(name)} was assigned to another split before.", row=line, column=SPLIT)
    warnings += left_out_warnings(source.unlisted(seen), UNLISTED)


def _is_midi(name: str) -> bool:
    *folders, file = name.split("/")
    return file.lower().endswith(SUFFIXES) and not file.startswith(".") and SYSTEM_FOLDER not in folders


def _read_name(record: Json, line: int, faults: Faults) -> str | None:
    """The name of the file in one line; None if there is none, which is a fault."""
    unknown = sorted(record.keys() - {MIDI, SPLIT})
    for field in unknown[:MAX_FIELDS_SHOWN]:
        faults.add("There is no such field; a line has `midi` and `split`.", row=line, column=field)
    name = record.get(MIDI)
    if isinstance(name, str) and name:
        return None if unknown else name
    problem = "There is no field 'midi'." if MIDI not in record else f"{shorten(name)} is no name of a file."
    faults.add(problem, row=line, column=MIDI)
    return None


def _limited(warnings: list[str]) -> list[str]:
    if len(warnings) <= MAX_WARNINGS:
        return warnings
    return [*warnings[:MAX_WARNINGS], f"{len(warnings) - MAX_WARNINGS:,} further warnings are left out."]


def piece_of(decoded: dict[str, Any]) -> Piece:
    """A decoded file as a piece."""
    programs = np.array([track["program"] for track in decoded["tracks"]], np.int64)
    notes, tempos = (np.asarray(decoded[name], np.int64) for name in ("notes", "tempos"))
    return Piece(notes, int(decoded["division"]), int(decoded["end"]), tempos.reshape(-1, 2), programs)


def pieces_to_arrays(pieces: Sequence[Piece]) -> Arrays:
    """Pieces as arrays that can be stored; there is at least one."""
    arrays: Arrays = {"time": np.array([[piece.division, piece.end] for piece in pieces], np.int64)}
    for name in ("notes", "tempos", "programs"):
        arrays |= Ragged.of([getattr(piece, name) for piece in pieces], np.int32).arrays(name)
    return arrays


class StoredPieces(Sequence[Piece]):
    """The pieces of a data set, each made when it is requested."""

    def __init__(self, arrays: Arrays) -> None:
        self._time: Ints = arrays["time"]  # (pieces, 2): ticks of a quarter note, end
        self._parts = [Ragged.from_arrays(arrays, name) for name in ("notes", "tempos", "programs")]

    def __len__(self) -> int:
        return len(self._time)

    def __getitem__(self, index: Any) -> Any:
        notes, tempos, programs = (part[index].astype(np.int64) for part in self._parts)
        division, end = self._time[index].tolist()
        return Piece(notes, division, end, tempos, programs)


def summarize(pieces: Sequence[Piece], codes: Ints) -> Json:
    """The summary of a data set: what it holds, and how its notes would be written as events."""
    train = [piece for piece, code in zip(pieces, codes.tolist(), strict=True) if code in TRAINING_CODES]
    coding = fit_coding(train, None, None)
    keys = np.unique(np.concatenate([piece.notes[:, 2] for piece in pieces]))
    pitches = keys[keys < MELODIC_KEYS]
    seconds = [float(piece.seconds(np.array([piece.end]))[0]) for piece in pieces]
    return {
        "pieces": len(pieces),
        "notes": sum(len(piece.notes) for piece in pieces),
        "seconds": round(sum(seconds), 1),
        "tracks": max(len(piece.programs) for piece in pieces),
        "lowest_pitch": int(pitches.min(initial=KEYS)) if len(pitches) else None,
        "highest_pitch": int(pitches.max(initial=0)) if len(pitches) else None,
        "drums": len(pitches) < len(keys),
        "coding": coding_to_json(coding)["name"],
        "steps_per_quarter": coding.steps_per_quarter,
        "train_notes": sum(len(piece.notes) for piece in train),
        "train_events": _count_events(coding, train),
        "splits": count_splits(codes.tolist()),
    }


def _count_events(coding: Coding, pieces: Sequence[Piece]) -> int:
    """The events of pieces; of very many as estimated by the notes of some of them."""
    counted = pieces[:: -(-len(pieces) // MAX_COUNTED_PIECES)]
    events, notes = (
        sum(len(coding.encode(piece)) for piece in counted),
        sum(len(one.notes) for one in counted),
    )
    return round(events * sum(len(piece.notes) for piece in pieces) / notes)
