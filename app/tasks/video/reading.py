"""Reads labeled clips from an uploaded archive."""

from collections import Counter
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from app.arrays import Arrays
from app.media.decoder import MediaDecoder
from app.tasks.media_members import MEMBER_NAMES, UNLISTED, MediaMembers, left_out_warnings, too_few
from app.tasks.shared import splits
from app.tasks.shared.label_checks import MAX_LABELS_SHOWN, untrainable_labels
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.shared.splits import SPLIT
from app.tasks.shared.table_cells import shorten
from app.tasks.shared.text_checks import text_problem
from app.tasks.source import MANIFEST, Faults, Reading, Source
from app.typedefs import Json

VIDEO, LABEL, LABELS, CLIPS = "video", "label", "labels", "clips"
FRAME_COUNTS, FRAME_SIZES = "frame_counts", "frame_sizes"
FIELDS = (VIDEO, LABEL, SPLIT)
NO_LABELS = "No clip has a label."  # why there is nothing to learn
MAX_LABEL_CHARS = 200
MIN_CLIPS = 8  # to learn two labels from
MIN_LABEL_CLIPS = 5  # a label with fewer clips causes a warning
TRIAL_FRAMES = {"size": 8, "color": False, "frames": 1}  # a clip is decoded whole to see whether it can be


@dataclass(frozen=True)
class Clip:
    """One line of the manifest with its file."""

    name: str
    content: bytes
    label: str | None  # None: the line says nothing of it
    split: int  # its code
    frames: int
    size: tuple[int, int]  # width and height, pixels
    shortened: bool  # it ends before its header says


class VideoReader:
    """Collects the clips that a manifest names, or what is wrong with them."""

    def __init__(self, source: Source, decoder: MediaDecoder, faults: Faults) -> None:
        self._faults = faults
        self._members = MediaMembers(source, faults, VIDEO, decoder)
        self.clips: list[Clip] = []
        self.named: dict[str, tuple[str | None, int]] = {}  # label and split by the name of the member
        self._unlabelled: list[tuple[int, str]] = []  # lines without a label, and what is wrong with them
        self.repeated = 0
        self.blank_labels = 0  # labels that begin or end with a blank

    def add_record(self, line: int, record: Json) -> None:
        """Add the clip of one line, or report its faults."""
        for field in sorted(record.keys() - set(FIELDS)):
            self._faults.add(f"There is no field {shorten(field)}.", row=line, column=str(field))
        name, (valid, label) = self._read_name(line, record.get(VIDEO)), self._read_label(line, record)
        split = splits.read_split(record.get(SPLIT), line, self._faults)
        if name is None:
            return
        if name in self.named:
            if valid and split is not None:
                self._repeat(line, name, label, split)
            return
        self.named[name] = (label, splits.UNASSIGNED if split is None else split)
        member = self._members.decode(name, line, TRIAL_FRAMES)
        if member is None:
            return
        content, facts = member
        if valid and split is not None:
            size = (facts["width"], facts["height"])
            self.clips.append(Clip(name, content, label, split, facts["count"], size, facts["shortened"]))

    def _read_name(self, line: int, value: object) -> str | None:
        wrong = "is missing." if value is None else text_problem(value)
        if wrong:
            self._faults.add(f"The name of the video {wrong}", row=line, column=VIDEO)
            return None
        return str(value)

    def _read_label(self, line: int, record: Json) -> tuple[bool, str | None]:
        """Whether a clip can be kept, and its label; None where it has none."""
        value = record.get(LABEL)
        if value is None or (isinstance(value, str) and not value.strip()):
            self._unlabelled.append((line, "missing" if value is None else "empty"))
            return True, None
        wrong = text_problem(value, MAX_LABEL_CHARS)
        if wrong:
            self._faults.add(f"The label {wrong}", row=line, column=LABEL)
            return False, None
        label = str(value).strip()
        self.blank_labels += label != value
        return True, label

    def check_labels(self) -> str | None:
        """Why the clips cannot be trained on, if so: they have no labels, or they are too few.

        Raises `DatasetInvalid` for clips of which some have no label.
        """
        if any(label is not None for label, _ in self.named.values()):
            for line, what in self._unlabelled:
                self._faults.add(f"The label is {what}.", row=line, column=LABEL)
        self._faults.check()
        labels = [clip.label for clip in self.clips if clip.label is not None]
        if not labels:
            return NO_LABELS
        if few := too_few(len(labels), "clip", MIN_CLIPS):
            return few
        return untrainable_labels(labels, [clip.split for clip in self.clips], "clip")

    def _repeat(self, line: int, name: str, label: str | None, split: int) -> None:
        """A second line about one member: a fault unless it says the same."""
        if self.named[name] == (label, split):
            self.repeated += 1
        else:
            column = LABEL if label != self.named[name][0] else SPLIT
            detail = f"The member {shorten(name)} has another {column} in an earlier line."
            self._faults.add(detail, row=line, column=column)

    def arrays(self) -> Arrays:
        """The clips as they were uploaded; labels are numbered in alphabetical order, -1 is none."""
        names = sorted({clip.label for clip in self.clips if clip.label is not None})
        numbers: dict[str | None, int] = {name: number for number, name in enumerate(names)}
        contents = [np.frombuffer(clip.content, np.uint8) for clip in self.clips]
        return {
            **Texts.of([clip.name for clip in self.clips]).arrays(MEMBER_NAMES),
            **Texts.of(names).arrays(LABELS),
            **Ragged.of(contents, np.uint8).arrays(CLIPS),
            LABEL: np.array([numbers.get(clip.label, -1) for clip in self.clips], np.int64),
            SPLIT: np.array([clip.split for clip in self.clips], np.int8),
            FRAME_COUNTS: np.array([clip.frames for clip in self.clips], np.int64),
            FRAME_SIZES: np.array([clip.size for clip in self.clips], np.int64),
        }


def read_clips(source: Source, faults: Faults) -> Reading:
    """Read a data set; raises `DatasetInvalid`."""
    if not source.has_manifest:
        faults.add(f"The archive has no {MANIFEST}, which names clips and labels.", member=MANIFEST)
        faults.check()
    with MediaDecoder() as decoder:
        reader = VideoReader(source, decoder, faults)
        for line, record in source.manifest():
            reader.add_record(line, record)
    untrainable = reader.check_labels()
    counts = Counter(clip.label for clip in reader.clips if clip.label is not None)
    summary = _summary(reader.clips, counts)
    warnings = _warnings(reader, source, counts if untrainable is None else None)
    return Reading(reader.arrays(), summary, warnings, untrainable, bool(counts))


def _summary(clips: list[Clip], counts: Counter[str]) -> Json:
    frames = np.array([clip.frames for clip in clips])
    sizes = Counter(f"{width} × {height}" for width, height in (clip.size for clip in clips))
    return {
        "examples": len(clips),
        "classes": len(counts),
        "labels": dict(counts.most_common(MAX_LABELS_SHOWN)),
        "lengths": {
            "unit": "frames",
            "shortest": int(frames.min()),
            "median": float(np.median(frames)),
            "longest": int(frames.max()),
        },
        "frame_size": sizes.most_common(1)[0][0],
        "splits": splits.count_splits(clip.split for clip in clips),
    }


def _warnings(reader: VideoReader, source: Source, counts: Counter[str] | None) -> list[str]:
    """What was read otherwise than it may be meant; `counts` are of labels, where these can be learned."""
    rare = [label for label, count in (counts or {}).items() if count < MIN_LABEL_CLIPS]
    shared = 0 if counts is None else _count_shared(reader.clips)
    shortened = sum(clip.shortened for clip in reader.clips)
    warnings = {
        f"Lines of the manifest that repeat others are left out: {reader.repeated:,}.": reader.repeated,
        f"Blanks around labels are left out, in lines: {reader.blank_labels:,}.": reader.blank_labels,
        f"Labels with fewer than {MIN_LABEL_CLIPS} clips: {len(rare)}, such as "
        f"{', '.join(shorten(label) for label in rare[:5])}.": len(rare),
        f"Clips for training that are also held out for valid or test: {shared:,}.": shared,
        f"Clips that end before their headers say; what is there was read: {shortened:,}.": shortened,
    }
    unlisted = left_out_warnings(source.unlisted(reader.named), UNLISTED)
    return unlisted + [sentence for sentence, count in warnings.items() if count]


def _count_shared(clips: list[Clip]) -> int:
    """How many distinct files are both for training and held out."""
    training, held_out = set[bytes](), set[bytes]()
    for clip in clips:
        group = held_out if clip.split in (splits.VALID, splits.TEST) else training
        group.add(sha256(clip.content).digest())
    return len(training & held_out)
