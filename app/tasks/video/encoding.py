"""Clips as a network reads them: frames, decoded once and cached on disk, and varied views of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Self

import numpy as np

from app.arrays import Array, Floats, Ints
from app.errors import DatasetInvalid
from app.media.decoder import Decoder, MediaDecoder
from app.media.errors import MediaError
from app.media.frame_selection import select_frames
from app.tasks.contract import Batch
from app.tasks.shared.ragged import Ragged, offsets_of
from app.tasks.video.augmentation import ClipAugmentation, vary_pixels, vary_selection
from app.tasks.video.options import VideoOptions
from app.tasks.video.reading import VIDEO
from app.typedefs import Json

CACHED_PER_FRAME = 4  # frames that are cached for each that is read: training reads others of them each time


@dataclass(frozen=True)
class ClipEncoding:
    """How frames are taken from a clip."""

    frames: int  # at most, that a network reads
    stride: int | None
    size: int  # pixels, width and height
    color: bool
    fit: str

    @classmethod
    def of(cls, options: VideoOptions) -> Self:
        """The encoding that a job's options name."""
        return cls(options.frames, options.stride, options.size, options.color, options.fit)

    @property
    def channels(self) -> int:
        """Numbers of a pixel."""
        return 3 if self.color else 1

    @property
    def features(self) -> int:
        """Numbers of a frame."""
        return self.channels * self.size**2

    def decode(self, decoder: Decoder, content: bytes) -> Array:
        """Frames of a file (time, features) uint8 from which `select` chooses; raises `MediaError`."""
        return self.decode_facts(decoder, content)[0]

    def decode_facts(self, decoder: Decoder, content: bytes) -> tuple[Array, Json]:
        """The same frames, and what else `decode_video` says of the file."""
        cached = self.frames * (CACHED_PER_FRAME if self.stride is None else 1)
        options: Json = {
            "size": self.size, "color": self.color, "frames": cached, "stride": self.stride, "fit": self.fit,
        }  # fmt: skip
        facts = decoder.decode(VIDEO, content, options)
        frames: Array = facts.pop("frames")
        return frames.reshape(len(frames), self.features), facts

    def select(self, count: int) -> Ints:
        """Which of the decoded frames of a clip a network reads, in rising order."""
        return select_frames(count, self.frames)


def cache_frames(clips: Ragged, encoding: ClipEncoding) -> Ragged:
    """The frames (time, features) of all clips (bytes,), memory-mapped from a file that nobody else sees."""
    lengths = list[int]()
    with TemporaryFile() as file:
        for frames in _decode_all(clips, encoding):
            lengths.append(len(frames))
            file.write(frames.tobytes())
        file.flush()
        values = np.memmap(file, np.uint8, "r", shape=(sum(lengths), encoding.features))
    return Ragged(np.asarray(values), offsets_of(np.array(lengths, np.int64)))


def _decode_all(clips: Ragged, encoding: ClipEncoding) -> Iterator[Array]:
    with MediaDecoder() as decoder:
        for row in range(len(clips)):
            try:
                yield encoding.decode(decoder, clips[row].tobytes())
            except MediaError as error:
                raise DatasetInvalid(f"The clip {row + 1} of the data set {error}.") from None


@dataclass(frozen=True)
class VideoData:
    """All clips of a data set."""

    labels: Ints  # (clips,)
    frames: Ragged  # (time, features) uint8
    encoding: ClipEncoding
    train: Ints  # rows of the training split

    @property
    def train_labels(self) -> Ints:
        """Labels of the training split, (clips,)."""
        return self.labels[self.train]


class VideoSplit:
    """Some clips of a data set as the split a training loop reads."""

    carried = False

    def __init__(
        self, rows: Ints, data: VideoData, weights: Floats, augmentation: ClipAugmentation | None = None
    ) -> None:
        self.rows, self.data = rows, data
        self.labels: Ints = data.labels[rows]  # (clips,)
        self._weights, self._augmentation = weights, augmentation  # weights (labels,)
        self.lengths: Ints = np.minimum(data.frames.lengths[rows], data.encoding.frames)  # (clips,)

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        """Gather clips as the LABEL loss expects them; with `rng` varied ones if the split is augmented."""
        clips = [self._view(int(row), rng) for row in self.rows[rows]]  # each (time, features)
        inputs, lengths = Ragged.of(clips, np.uint8).padded(np.arange(len(clips)))
        labels = self.labels[rows]
        return Batch(inputs, lengths, labels, self._weights[labels])

    def _view(self, row: int, rng: "np.random.Generator | None") -> Array:
        frames, encoding = self.data.frames[row], self.data.encoding
        if rng is None or self._augmentation is None:
            return frames[encoding.select(len(frames))]
        selected = vary_selection(len(frames), encoding.frames, self._augmentation, rng)
        images = frames[selected].reshape(-1, encoding.channels, encoding.size, encoding.size)
        return vary_pixels(images, self._augmentation, rng).reshape(len(images), -1)
