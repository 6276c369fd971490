"""Reads recordings with their transcripts from an archive: PCM at one sample rate, and texts."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NotRequired

import numpy as np

from app.arrays import Array, Arrays
from app.media.decoder import MediaDecoder
from app.media.filterbank import FRAMES_A_SECOND, SHIFT_MS, frame_count
from app.media.wav import wav_bytes
from app.tasks.media_members import MEMBER_NAMES, UNLISTED, MediaMembers, left_out_warnings, too_few
from app.tasks.preview import PreviewRows, RowBounds, SplitPreviewRow, clip_text, file_field
from app.tasks.shared import splits
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.shared.splits import SPLIT
from app.tasks.shared.table_cells import shorten
from app.tasks.shared.text_checks import TEXT, text_problem
from app.tasks.source import Faults, Reading, Source
from app.tasks.speech.features import steps_of
from app.tasks.speech.labels import normalize_transcript, steps_needed
from app.tasks.speech.options import DEFAULT_STRIDE, MAX_STRIDE
from app.typedefs import Json

AUDIO, RATE = "audio", "sample_rate"
FIELDS = (AUDIO, TEXT, SPLIT)
MAX_SAMPLE_RATE = 16_000  # Hz, of what is stored
MAX_TOTAL_SAMPLES = 1 << 30  # of all clips: 18 hours at 16 kHz
MAX_TRANSCRIPT_CHARS = 1 << 20
MAX_EASY_SECONDS = 30  # of a recording; longer ones cause a warning
MIN_CLIPS = 3  # one for each split
NO_TEXTS = "No recording has a text."  # why there is nothing to learn
MAX_CHARACTERS_SHOWN = 100  # in a summary


class SpeechPreviewRow(SplitPreviewRow):
    """A member of the archive, with `frames` of 10 ms; `text` is None where no recording has one.

    Whole rows have the recording as a WAV file, None where it is too large.
    """

    audio: str
    text: str | None
    seconds: float
    sample_rate: int
    frames: int
    audio_base64: NotRequired[bytes | None]


@dataclass
class UploadedRecording:
    """One recording as the manifest describes it."""

    line: int  # 1-based, of the manifest
    name: str
    text: str | None  # None: the line says nothing of it
    code: int  # of its split
    samples: Array = field(default_factory=lambda: np.zeros(0, np.int16))
    rate: int = 0  # Hz

    @property
    def seconds(self) -> float:
        """The length of the recording."""
        return len(self.samples) / self.rate

    @property
    def frames(self) -> int:
        """Frames of its features."""
        return frame_count(len(self.samples), self.rate)


class SpeechReader:
    """Collects the clips of an archive; every fault names the manifest's line and field."""

    def __init__(self, source: Source, faults: Faults, decoder: MediaDecoder) -> None:
        self._source, self._faults = source, faults
        self._members = MediaMembers(source, faults, AUDIO, decoder)
        self.clips: dict[str, UploadedRecording] = {}  # by the member's name
        self.repeated = self.shortened = self.total_samples = 0
        self._has_texts = False

    def read_manifest(self) -> None:
        """Read every line of the manifest, then decode the recordings it names.

        Either all lines have a text, or none has one and the recordings are only to be predicted.
        """
        for line, record in self._source.manifest():
            clip = self._read_line(line, record)
            if clip is not None and self._is_new(clip):
                self.clips[clip.name] = clip
        for clip in self.clips.values():
            if self._has_texts and clip.text is None:
                self._faults.add("The text is missing; other lines have one.", row=clip.line, column=TEXT)
        for clip in self.clips.values():
            self._decode(clip, {"max_sample_rate": MAX_SAMPLE_RATE})
            self._check_fit(clip)

    def _read_line(self, line: int, record: Json) -> UploadedRecording | None:
        """The clip of a line, or None after its faults."""
        self._has_texts |= TEXT in record
        count, name, text = len(self._faults.problems), record.get(AUDIO), record.get(TEXT, "")
        for other in sorted(record.keys() - set(FIELDS)):
            detail = f"There is no field {shorten(other)}; a line has {', '.join(FIELDS)}."
            self._faults.add(detail, row=line, column=other)
        if not isinstance(name, str) or not name:
            detail = "is missing" if name is None else f"is {shorten(name)}, which is no name"
            self._faults.add(f"The audio {detail}.", row=line, column=AUDIO)
        is_empty = isinstance(text, str) and not text.strip()  # a recording in which nobody speaks
        wrong = text_problem(text, MAX_TRANSCRIPT_CHARS)
        if wrong and not is_empty:
            self._faults.add(f"The text {wrong}", row=line, column=TEXT)
        code = splits.read_split(record.get(SPLIT), line, self._faults)
        if len(self._faults.problems) > count or code is None:
            return None
        transcript = normalize_transcript(str(text)) if TEXT in record else None
        return UploadedRecording(line, str(name), transcript, code)

    def _is_new(self, clip: UploadedRecording) -> bool:
        """Whether no line before named this recording; a fault where one gave it another text."""
        other = self.clips.get(clip.name)
        if other is None:
            return True
        if (other.text, other.code) == (clip.text, clip.code):
            self.repeated += 1
        else:
            detail = f"The member {shorten(clip.name)} has another text or split in line {other.line}."
            self._faults.add(detail, row=clip.line, column=AUDIO)
        return False

    def _decode(self, clip: UploadedRecording, options: Json) -> None:
        member = self._members.decode(clip.name, clip.line, options)
        if member is None:
            return
        _, decoded = member
        self.total_samples += len(decoded["samples"]) - len(clip.samples)
        clip.samples, clip.rate = decoded["samples"], decoded[RATE]
        self.shortened += bool(decoded["shortened"])
        if self.total_samples > MAX_TOTAL_SAMPLES:
            hours = MAX_TOTAL_SAMPLES // MAX_SAMPLE_RATE // 3_600
            self._faults.add(f"There is more audio than {hours} hours at 16 kHz, which is the most.")
            self._faults.check()

    def _check_fit(self, clip: UploadedRecording) -> None:
        """Report a transcript that has too many characters for its audio."""
        if not clip.rate or clip.text is None:
            return
        needed, steps = steps_needed(clip.text), steps_of(clip.frames, DEFAULT_STRIDE)
        if needed > steps:
            milliseconds = SHIFT_MS * DEFAULT_STRIDE
            self._faults.add(
                f"The text is too long for its audio: {len(clip.text):,} characters need {needed:,} steps, "
                f"and {clip.seconds:.2f} seconds have {steps:,} of {milliseconds} ms.",
                row=clip.line,
                column=TEXT,
            )

    def unify_rates(self) -> int:
        """The commonest sample rate, at which every clip is afterwards: a whole number of samples a frame."""
        rates = Counter(clip.rate // FRAMES_A_SECOND * FRAMES_A_SECOND for clip in self.clips.values())
        target = max(rates, key=lambda rate: (rates[rate], rate))
        for clip in self.clips.values():
            if clip.rate != target:
                self._decode(clip, {RATE: target})
        return target


def read_recordings(source: Source, faults: Faults) -> Reading:
    """Read a data set; raises `DatasetInvalid`."""
    if not source.has_manifest:
        faults.add("The archive has no manifest.jsonl, which says what each recording is.")
        faults.check()
    with MediaDecoder() as decoder:
        reader = SpeechReader(source, faults, decoder)
        reader.read_manifest()
        faults.check()
        untrainable = _untrainable(list(reader.clips.values()))
        rate = reader.unify_rates()
        faults.check()
    clips = list(reader.clips.values())
    arrays: Arrays = {
        **Texts.of([clip.name for clip in clips]).arrays(MEMBER_NAMES),
        **Ragged.of([clip.samples for clip in clips], np.int16).arrays(AUDIO),
        **Texts.of([clip.text or "" for clip in clips]).arrays(TEXT),
        RATE: np.array([rate], np.int64),
        SPLIT: np.array([clip.code for clip in clips], np.int8),
    }
    has_texts = untrainable != NO_TEXTS
    warnings = _warnings(reader, source, is_trainable=untrainable is None)
    return Reading(arrays, _summary(clips, rate), warnings, untrainable, has_texts)


def read_members(source: Source, faults: Faults) -> list[Json]:
    """An instance for each member that the manifest names, or for all members where it names none."""
    members = MediaMembers(source, faults, AUDIO)
    return members.instances(members.named() or [(member.name, None) for member in source.members()])


def preview_recordings(arrays: Arrays, bounds: RowBounds) -> PreviewRows:
    """The recordings as they are stored, at one sample rate, with their transcripts."""
    names, audio = Texts.from_arrays(arrays, MEMBER_NAMES), Ragged.from_arrays(arrays, AUDIO)
    texts, rate = Ragged.from_arrays(arrays, TEXT), int(arrays[RATE][0])

    def row(index: int) -> Json:
        samples, (text, truncated) = len(audio[index]), clip_text(texts[index], bounds)
        content = file_field("audio_base64", lambda: wav_bytes(audio[index], rate), bounds)
        return {
            AUDIO: names[index],
            TEXT: text if len(texts.values) else None,
            "seconds": round(samples / rate, 3),
            RATE: rate,
            "frames": frame_count(samples, rate),
            SPLIT: splits.split_name(int(arrays[SPLIT][index])),
            **content,
            "truncated": truncated or None in content.values(),
        }

    return PreviewRows(len(audio), row)


def _untrainable(clips: list[UploadedRecording]) -> str | None:
    """Why recordings cannot be trained on, if so: they have no texts, or they are too few."""
    if all(clip.text is None for clip in clips):
        return NO_TEXTS
    if few := too_few(len(clips), "recording", MIN_CLIPS):
        return few
    for_training = [clip for clip in clips if clip.code in splits.TRAINING_CODES]
    if not for_training:
        return "No recording is for training."
    return None if any(clip.text for clip in for_training) else "Every text for training is empty."


def _summary(clips: list[UploadedRecording], rate: int) -> Json:
    seconds = np.array([clip.seconds for clip in clips])
    texts = [clip.text for clip in clips if clip.text is not None]
    characters = Counter(character for text in texts for character in text)
    fits = [
        stride
        for stride in range(1, MAX_STRIDE + 1)
        if all(steps_needed(clip.text or "") <= steps_of(clip.frames, stride) for clip in clips)
    ]
    return {
        "examples": len(clips),
        "seconds": round(float(seconds.sum()), 2),
        "train_seconds": round(sum(clip.seconds for clip in clips if clip.code in splits.TRAINING_CODES), 2),
        RATE: rate,
        "lengths": {
            "unit": "seconds",
            "shortest": round(float(seconds.min()), 3),
            "median": round(float(np.median(seconds)), 3),
            "longest": round(float(seconds.max()), 3),
        },
        "transcripts": len(set(texts)),
        "words": len({word for text in texts for word in text.split()}),
        "characters": dict(characters.most_common(MAX_CHARACTERS_SHOWN)),
        "max_stride": max(fits, default=1),
        "splits": splits.count_splits(clip.code for clip in clips),
    }


def _warnings(reader: SpeechReader, source: Source, *, is_trainable: bool) -> list[str]:
    clips = reader.clips.values()
    known = {c for clip in clips if clip.code in splits.TRAINING_CODES for c in clip.text or ""}
    unseen = {c for clip in clips for c in clip.text or ""} - known if is_trainable else set()
    warnings = left_out_warnings(source.unlisted(reader.clips), UNLISTED)
    if reader.repeated:
        warnings.append(f"{reader.repeated:,} lines of the manifest repeat another and were left out.")
    if reader.shortened:
        warnings.append(
            f"{reader.shortened:,} recordings end before their headers say; what is there was read."
        )
    long = sum(clip.seconds > MAX_EASY_SECONDS for clip in clips)
    if long:
        warnings.append(
            f"{long:,} recordings are longer than {MAX_EASY_SECONDS} seconds; shorter ones need less memory "
            "in training, and are learned from sooner."
        )
    if unseen:
        signs = ", ".join(shorten(sign) for sign in sorted(unseen)[:8])
        warnings.append(f"{len(unseen)} characters are in no text for training, such as {signs}.")
    return warnings
