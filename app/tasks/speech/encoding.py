"""All clips of a data set as inputs of a network, and the splits that a training loop reads."""

from dataclasses import dataclass

import numpy as np

from app.arrays import Array, Arrays, Floats, Ints
from app.media.filterbank import FRAMES_A_SECOND, log_mel
from app.tasks.contract import Batch
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.shared.splits import SPLIT, VALID, SplitRows
from app.tasks.shared.text_checks import TEXT
from app.tasks.speech.augmentation import Augmentation
from app.tasks.speech.features import FeatureMoments, normalize
from app.tasks.speech.labels import as_targets, fit_labels, load_labels, steps_needed
from app.tasks.speech.language_model import training_transcripts
from app.tasks.speech.options import SpeechOptions, normalizes_by_clip
from app.tasks.speech.reading import AUDIO, RATE
from app.typedefs import Json

MAX_PART_SECONDS, MIN_PART_SECONDS = 20, 8  # of the parts that long audio is cut into
SILENCE_FRAMES = 20  # energies are averaged over so many to find a pause


@dataclass(frozen=True)
class EncodedClips:
    """All clips of a data set, whose features were computed once."""

    frames: Ragged  # (frames, bins) float16, normalized
    cuts: list[list[int]]  # of each clip: the frames at which its parts begin
    labels: list[list[int]]
    texts: list[str]
    training_rows: Ints  # for the baseline: the training split, and a validation split sampled from it


class SpeechSplit:
    """Some clips as the split a training loop reads."""

    def __init__(
        self, rows: Ints, data: EncodedClips, stride: int, augmentation: Augmentation | None = None
    ) -> None:
        self.rows, self.data = rows, data
        self._stride, self._augmentation = stride, augmentation
        self.lengths: Ints = data.frames.lengths[rows]  # (clips,)
        self.carried = False

    @property
    def texts(self) -> list[str]:
        """The transcripts, in split order."""
        return [self.data.texts[row] for row in self.rows.tolist()]

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        """Gather clips as the CTC loss expects them: log-mel frames, and labels from 1 up."""
        chosen = self.rows[rows].tolist()
        labels = [self.data.labels[row] for row in chosen]
        views = [self.data.frames[row].astype(np.float32) for row in chosen]
        if rng is not None and self._augmentation is not None:
            views = [
                self._augmentation.view(view, self._stride * steps_needed(row), rng)
                for view, row in zip(views, labels, strict=True)
            ]
        lengths = np.array([len(view) for view in views], np.int64)  # (batch,)
        inputs = np.zeros((len(views), int(lengths.max()), views[0].shape[1]), np.float32)
        for padded, view in zip(inputs, views, strict=True):
            padded[: len(view)] = view
        targets, counts = as_targets(labels)  # (batch, labels)
        weights = np.arange(targets.shape[1]) < counts[:, None]
        return Batch(inputs, lengths, targets, weights.astype(np.float32))


def encode_clips(arrays: Arrays, rows: SplitRows, options: SpeechOptions) -> tuple[EncodedClips, Json]:
    """All clips of a data set, and the state from which `encode_samples` does the same with one clip."""
    audio, texts = Ragged.from_arrays(arrays, AUDIO), Texts.from_arrays(arrays, TEXT)
    transcripts = texts.pick(range(len(texts)))
    known = [transcripts[row] for row in rows.train.tolist()]
    rate = int(arrays[RATE][0])
    moments, energies = FeatureMoments(options.mel_bins), []
    in_training = np.isin(np.arange(len(audio)), rows.train)
    for row in range(len(audio)):
        energies.append(log_mel(audio[row], rate, options.mel_bins).astype(np.float16))
        if in_training[row]:
            moments.add(energies[-1].astype(np.float32))
    state: Json = {
        RATE: rate,
        "mel_bins": options.mel_bins,
        "stride": options.stride,
        "by_clip": normalizes_by_clip(options, float(np.median(audio.lengths[rows.train])) / rate),
        "moments": moments.to_json(),
        "labels": fit_labels(known, options.tokens, options.vocabulary_size),
        "ngram": options.ngram,
        "language_model": options.language_model,
        "transcripts": training_transcripts(known) if options.language_model != "off" else [],
        "search": {"beam_size": 1, "weight": 0.0, "bonus": 0.0},
    }
    cuts = []
    for row, clip in enumerate(energies):
        normalized, parts = normalize_parts(clip.astype(np.float32), state)
        energies[row] = normalized.astype(np.float16)
        cuts.append(parts)
    labels, sampled = load_labels(state["labels"]), rows.valid[arrays[SPLIT][rows.valid] != VALID]
    encoded = EncodedClips(
        Ragged.of(energies, np.float16),
        cuts,
        [labels.encode(text) for text in transcripts],
        transcripts,
        np.union1d(rows.train, sampled),
    )
    return encoded, state


def encode_samples(samples: Array, state: Json) -> tuple[Floats, list[int]]:
    """Frames (time, bins) of int16 samples at the state's rate, and where its parts begin."""
    return normalize_parts(log_mel(samples, state[RATE], state["mel_bins"]), state)


def normalize_parts(energies: Floats, state: Json) -> tuple[Floats, list[int]]:
    """Normalized frames (time, bins) of log-mel energies, part by part, and where the parts begin."""
    starts = cut_at_silences(energies, state["stride"])
    parts = [
        normalize(energies[start:end], state["moments"], by_clip=state["by_clip"])
        for start, end in zip(starts, [*starts[1:], len(energies)], strict=True)
    ]
    return np.concatenate(parts), starts


def cut_at_silences(energies: Floats, stride: int) -> list[int]:
    """Frames at which parts of up to 20 seconds begin, in the quietest places; a multiple of `stride`."""
    longest, shortest = MAX_PART_SECONDS * FRAMES_A_SECOND, MIN_PART_SECONDS * FRAMES_A_SECOND
    starts = [0]
    if len(energies) <= longest:
        return starts
    loudness = np.convolve(energies.mean(axis=1), np.full(SILENCE_FRAMES, 1 / SILENCE_FRAMES), "same")
    while len(energies) - starts[-1] > longest:
        last = starts[-1]
        # What is left is at least as long as the shortest part, or it would be hard to read alone.
        end = min(last + longest, len(energies) - shortest // 2)
        quietest = last + shortest + int(np.argmin(loudness[last + shortest : end]))
        starts.append(max(last + stride, quietest // stride * stride))
    return starts
